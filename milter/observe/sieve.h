/*
 * Which outcomes have a line in the log: log-messages of the configuration, and how many there are just now. Private to
 * observe; outcome.c asks. Loop thread only.
 */
#ifndef MILTER_OBSERVE_SIEVE_H
#define MILTER_OBSERVE_SIEVE_H

#include "relaypool.h"

struct conf;

#define SIEVE_WINDOW 5 /* seconds that the rate is taken over */
#define SIEVE_MANY 20  /* a second: from there on `auto` leaves lines out… */
#define SIEVE_FEW 10   /* … until there are fewer than this */

/* Until it is called every outcome passes. */
void sieve_configure(const struct conf *conf);
/* Counts the outcome; whether it has a line. Says when lines begin and cease to be left out. */
bool sieve_passes(const struct event *outcome);
/* Left out by `auto` since the start. */
unsigned long sieve_left_out(void);
/* The end: says so if lines are left out. */
void sieve_stop(void);

#endif
