/*
 * What store_file.c has for store.c beside setup/store.h.
 */
#ifndef SETUP_STORE_PRIVATE_H
#define SETUP_STORE_PRIVATE_H

#include "setup/store.h"

/* DIRECTORY/NAME, the '/' of a name written as '%', so that each name has one file; the caller's. */
char *store_path(const char *directory, const char *name);
/* "cannot open /x: Permission denied"; false. */
bool store_refuse(char error[SETUP_ERROR_SIZE], const char *what, const char *path);
/* What was made or renamed in a directory is on the disk when the directory is. */
bool store_sync(const char *directory, char error[SETUP_ERROR_SIZE]) MUST_CHECK;

#endif
