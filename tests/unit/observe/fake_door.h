/* The door, played by the tests while there is something in it: what waits there, and the notes that it has. */
#ifndef TESTS_UNIT_OBSERVE_FAKE_DOOR_H
#define TESTS_UNIT_OBSERVE_FAKE_DOOR_H

#include "observe/door.h"

void fake_door_start(void);
void fake_door_stop(void); /* the real one again */
/* A message has ended at the door now; to be taken at the next call. */
void fake_door_note(const char *queue_id, usec_t client, usec_t mta, bool outbound);
void fake_door_note_at(const char *queue_id, usec_t ended);
void fake_door_lose(unsigned long notes);
void fake_door_wait(const struct wait *wait); /* lasts until the next call; NULL: nothing waits */

#endif
