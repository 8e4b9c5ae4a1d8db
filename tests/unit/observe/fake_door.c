/* The door, played by the tests (fake_door.h): the linker has every call of its two functions come here. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fake_door.h"

void __real_door_each_wait(wait_fn *fn, void *arg);
unsigned long __real_door_take_notes(void (*fn)(const struct door_note *note, void *arg), void *arg);
void __wrap_door_each_wait(wait_fn *fn, void *arg);
unsigned long __wrap_door_take_notes(void (*fn)(const struct door_note *note, void *arg), void *arg);

static struct {
	bool played, waits;
	struct wait wait;
	struct door_note *notes;
	size_t count;
	unsigned long lost;
} door;

void fake_door_start(void)
{
	door.played = true;
}

void fake_door_stop(void)
{
	free(door.notes);
	door.notes = NULL;
	door.count = door.lost = 0;
	door.played = door.waits = false;
}

static struct door_note *add(const char *queue_id)
{
	door.notes = mem_realloc(door.notes, (door.count + 1) * sizeof *door.notes);
	struct door_note *note = &door.notes[door.count++];
	*note = (struct door_note){.client = -1, .mta = -1, .ended = clock_now()};
	snprintf(note->queue_id, sizeof note->queue_id, "%s", queue_id);
	return note;
}

void fake_door_note(const char *queue_id, usec_t client, usec_t mta, bool outbound)
{
	struct door_note *note = add(queue_id);
	note->client = client;
	note->mta = mta;
	note->outbound = outbound;
}

void fake_door_note_at(const char *queue_id, usec_t ended)
{
	struct door_note *note = add(queue_id);
	note->client = note->mta = 0;
	note->outbound = true;
	note->ended = ended;
}

void fake_door_lose(unsigned long notes)
{
	door.lost += notes;
}

void fake_door_wait(const struct wait *wait)
{
	door.waits = wait != NULL;
	if (wait != NULL)
		door.wait = *wait;
}

void __wrap_door_each_wait(wait_fn *fn, void *arg)
{
	if (!door.played)
		__real_door_each_wait(fn, arg);
	else if (door.waits)
		fn(&door.wait, arg);
}

unsigned long __wrap_door_take_notes(void (*fn)(const struct door_note *note, void *arg), void *arg)
{
	if (!door.played)
		return __real_door_take_notes(fn, arg);
	unsigned long lost = door.lost;
	for (size_t i = 0; i < door.count; i++)
		fn(&door.notes[i], arg);
	door.count = door.lost = 0;
	return lost;
}
