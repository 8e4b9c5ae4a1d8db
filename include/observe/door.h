/*
 * The MTA's door: which SMTP sessions have a message under way and who of client and MTA has the word, and what the
 * journeys of the messages that have ended there were. Told by the milter's callbacks on libmilter's threads, asked on
 * the loop thread. It never waits for the loop, and the loop waits for it no longer than a few fields take to copy.
 */
#ifndef OBSERVE_DOOR_H
#define OBSERVE_DOOR_H

#include "relaypool.h"

/* One message that has reached the end of message at the milter. */
struct door_note {
	char queue_id[64];
	/*
	 * Its time at the door, by who had the word, from the connection or, of later messages in a session, from MAIL
	 * or DATA as below. What was shorter than a look, 250 ms, may be counted as the client's. -1: not to be told
	 * apart.
	 */
	usec_t client, mta;
	usec_t unknown; /* … that could not be told apart; 0 where all of it could */
	usec_t ended;   /* clock_now() at the end of message */
	bool outbound;  /* the MTA said of a recipient that it goes to relaypoold; false: maybe not, maybe not asked */
};

/*
 * Every message that is under way at the door: stage client or mta, cause client, server or door. It is from MAIL on in
 * ten sessions a second, from DATA on in others, until the MTA has answered its end. Sessions without a message are
 * never told. Asks the kernel of at most 64 sessions. Loop thread.
 *
 * What can be told: the MTA has the word where it leaves octets unread, or owes the answer to a command that it has told
 * the milter of and waited for its reply (MAIL in a sample of sessions, and the end of message). The client has it where
 * the MTA spoke last, and while the body comes. What cannot, and is CAUSE_DOOR: where the client spoke last and all was
 * read, as the kernel knows octets, not commands. It may be half of one, and the client's; or whole, and with the MTA's
 * policy or a milter before ours. The note has it as the MTA's if the next segment came after the answer, else as
 * unknown. Nor can a pause in the body be told from its end.
 */
void door_each_wait(wait_fn *fn, void *arg);
/* The notes since the last call, oldest first, each once. Returns how many were lost because nobody asked in time. */
unsigned long door_take_notes(void (*fn)(const struct door_note *note, void *arg), void *arg);

#endif
