/* Memory that is there or the process ends: callers need not look. Used everywhere; never returns NULL. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "relaypool.h"

void *mem_alloc(size_t size);               /* zeroed; free() it */
void *mem_array(size_t count, size_t size); /* zeroed; overflow ends the process */
void *mem_realloc(void *old, size_t size);
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t length);
char *mem_printf(const char *format, ...) PRINTF_LIKE(1, 2);
/* Overwrites a secret before it is freed; the compiler keeps it. NULL is allowed. */
void mem_free_secret(char *text);

#endif
