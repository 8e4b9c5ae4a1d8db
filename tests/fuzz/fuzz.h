/*
 * What every fuzz target includes. A target is run by libFuzzer (`make fuzz`) or, over its corpus, by replay.c
 * (`make check`). Whatever the octets are, each property that a target states must hold.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, whatever NDEBUG says. */
#define REQUIRE(property)        \
	do {                     \
		if (!(property)) \
			abort(); \
	} while (0)

#endif
