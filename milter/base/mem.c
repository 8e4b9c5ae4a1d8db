/*
 * Memory that is there or the process ends. Used by every module except the log, which must be able to say why the
 * process ends: it never calls this one.
 */
#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

/* There is nothing to give back to: no mail is lost by ending, the MTA's queue has it all. */
static _Noreturn void out_of_memory(size_t size)
{
	log_fatal("out of memory: %zu bytes were refused", size);
	log_close(USEC_PER_SEC);
	abort();
}

void *mem_alloc(size_t size)
{
	return mem_array(1, size);
}

void *mem_array(size_t count, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(count, size, &total))
		out_of_memory(SIZE_MAX);
	void *memory = calloc(1, total > 0 ? total : 1);
	if (!memory)
		out_of_memory(total);
	return memory;
}

void *mem_realloc(void *old, size_t size)
{
	void *memory = realloc(old, size > 0 ? size : 1);
	if (!memory)
		out_of_memory(size);
	return memory;
}

char *mem_strdup(const char *text)
{
	return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t length)
{
	size_t actual = strnlen(text, length);
	char *copy = mem_alloc(actual + 1);
	memcpy(copy, text, actual);
	return copy;
}

char *mem_printf(const char *format, ...)
{
	char *text;
	va_list args;
	va_start(args, format);
	int length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0)
		out_of_memory(strlen(format));
	return text;
}

void mem_free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}
