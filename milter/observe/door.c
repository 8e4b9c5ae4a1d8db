/*
 * The sessions at the MTA's door, and the notes of the messages that have come through it. The milter tells it of
 * callbacks on libmilter's threads; the loop thread asks it what waits. The kernel is asked outside of the one mutex,
 * which is held for a few fields at a time; nobody is ever waited for.
 */
#include <config.h>

#include "observe/door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "door_private.h"
#include "turn.h"

/* Notes kept for whoever takes them: some seconds' worth of the fastest MTA. */
#define NOTES_MAX 4096
/* So long after a callback the kernel is not asked: nobody waits yet. */
#define LOOK_AFTER (200 * USEC_PER_MSEC)
/* Sessions that are looked at in one call: less than 1 ms of the loop's time. */
#define LOOKS_MAX 64

/* One SMTP session. Its address belongs to the callbacks, the rest to whoever holds the mutex. */
struct door {
	struct list entry;
	bool lent, gone; /* the loop thread has it in hand; and it is to free it */

	bool known; /* the two ends of the client's connection, with which the kernel can be asked */
	struct sockaddr_storage local, peer;

	bool fresh;     /* before its first message, whose time counts from the beginning */
	bool under_way; /* a message is, from MAIL on */
	bool in_body;   /* since DATA */
	bool ended;     /* a message has, and the MTA has not answered its client yet */
	bool outbound;
	bool blind; /* some of the message's time could not be asked for */
	char queue_id[sizeof((struct door_note *)NULL)->queue_id];
	struct turn_times times; /* of the message, up to `counted` */
	usec_t counted;

	unsigned steps;        /* callbacks; so that a look can tell that one came meanwhile */
	usec_t stepped;        /* the last one's time */
	struct turn_step step; /* as it was then, or at a later look that leaves no doubt; only if known */
	uint32_t came;         /* segments with data, up to the last callback; only if known */
	struct turn_step last; /* as at `looked` */
	usec_t looked;         /* the last time that anybody looked, at a callback or since */
	bool unread;           /* octets were, then */
	enum stage stage;      /* what was found then */
	enum cause cause;
	usec_t since;
};

static struct {
	pthread_mutex_t mutex;
	struct list sessions; /* oldest first */
	size_t session_count;
	struct door_note notes[NOTES_MAX]; /* a ring */
	size_t first_note, note_count;
	unsigned long lost;
} room = {.mutex = PTHREAD_MUTEX_INITIALIZER, .sessions = {&room.sessions, &room.sessions}};

/* ---- sessions ---- */

struct door *door_enter(void)
{
	struct door *door = mem_alloc(sizeof *door);
	door->fresh = true;
	door->stepped = door->looked = door->counted = clock_now();
	pthread_mutex_lock(&room.mutex);
	list_append(&room.sessions, &door->entry);
	room.session_count++;
	pthread_mutex_unlock(&room.mutex);
	return door;
}

void door_leave(struct door *door)
{
	pthread_mutex_lock(&room.mutex);
	list_remove(&door->entry);
	room.session_count--;
	bool lent = door->gone = door->lent;
	pthread_mutex_unlock(&room.mutex);
	if (!lent)
		free(door);
}

/* ---- the two ends of the client's connection ---- */

/* An address as a macro has it: Sendmail writes IPv6:2001:db8::1. Port 0. */
static bool parse_address(const char *text, struct sockaddr_storage *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
	memset(address, 0, sizeof *address);
	if (text == NULL)
		return false;
	if (strncasecmp(text, "IPv6:", 5) == 0)
		text += 5;
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		address->ss_family = AF_INET;
		return true;
	}
	if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		address->ss_family = AF_INET6;
		return true;
	}
	return false;
}

/* 0.0.0.0 or ::, what Sendmail's daemon listens on: it does not say at which address the client has come in. */
static bool is_any(const struct sockaddr_storage *address)
{
	static const unsigned char none[16];
	const unsigned char *octets;
	int family = net_octets((const struct sockaddr *)address, &octets);
	return memcmp(octets, none, family == AF_INET ? 4 : 16) == 0;
}

static in_port_t *port_of(struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET ? &((struct sockaddr_in *)address)->sin_port
					     : &((struct sockaddr_in6 *)address)->sin6_port;
}

/*
 * Sendmail has no {if_addr} for a client on this host; such a one has the same address at both ends. Where that is not
 * so the kernel knows of no such connection.
 */
static bool find_local(struct door *door, const struct door_macros *macros)
{
	char *end;
	if (macros->daemon_port == NULL)
		return false;
	unsigned long port = strtoul(macros->daemon_port, &end, 10);
	if (*end != '\0' || port == 0 || port > UINT16_MAX)
		return false;
	if ((!parse_address(macros->daemon_addr, &door->local) || is_any(&door->local)) &&
	    (!parse_address(macros->if_addr, &door->local) || is_any(&door->local)))
		door->local = door->peer;
	*port_of(&door->local) = htons((uint16_t)port);
	return true;
}

static bool find_peer(struct door *door, const struct sockaddr *client)
{
	memset(&door->peer, 0, sizeof door->peer);
	if (client == NULL || (client->sa_family != AF_INET && client->sa_family != AF_INET6))
		return false;
	memcpy(&door->peer, client,
	       client->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	return *port_of(&door->peer) != 0;
}

static enum net_answer ask(const struct sockaddr_storage *local, const struct sockaddr_storage *peer,
			   struct net_turn *turn)
{
	return net_tcp_turn((const struct sockaddr *)local, (const struct sockaddr *)peer, turn);
}

/* ---- callbacks ---- */

/*
 * With the mutex held: between two messages only what the MTA was at work on counts, for the next one, and not what it
 * still did for the last. `told` NULL: nothing does.
 */
static void count_idle(struct door *door, usec_t now, const struct net_turn *told)
{
	if (told != NULL && told->data_received != door->came) {
		struct turn_times times = {0};
		turn_count_step(&times, door->counted, now, told, &door->last);
		door->times.mta += times.mta;
	}
	door->counted = now;
}

/*
 * Begins a callback, with `turn` as it is then: the mutex is held afterwards, the time up to now is counted, and the
 * kernel's word is kept to compare with. A session that the kernel does not know, as one whose client's address the MTA
 * was told by a proxy, is not asked for again. One of which it could not be asked, for want of descriptors, is; then
 * only the time up to now is unknown.
 */
static void begin_step(struct door *door, enum turn turn)
{
	struct net_turn told;
	enum net_answer answer = door->known ? ask(&door->local, &door->peer, &told) : NET_NO_CONNECTION;
	bool asked = answer == NET_TOLD;
	pthread_mutex_lock(&room.mutex);
	usec_t now = clock_now();
	if (door->fresh || door->under_way)
		turn_count_step(&door->times, door->counted, now, asked ? &told : NULL, &door->last);
	else
		count_idle(door, now, asked ? &told : NULL);
	door->known = answer != NET_NO_CONNECTION;
	door->blind = door->blind || !door->known;
	if (asked) {
		door->step = door->last = (struct turn_step){.told = told, .turn = turn};
		door->came = told.data_received;
	} else {
		door->step.turn = door->last.turn = TURN_UNKNOWN;
	}
	door->steps++;
	door->stepped = door->looked = door->counted = door->since = now;
	door->unread = door->ended = false;
	door->stage = STAGE_CLIENT;
	door->cause = CAUSE_DOOR;
}

static void end_step(void)
{
	pthread_mutex_unlock(&room.mutex);
}

/* With the mutex held. The next message's time counts from its MAIL. */
static void forget_message(struct door *door)
{
	door->fresh = door->under_way = door->in_body = door->outbound = false;
	door->queue_id[0] = '\0';
	door->times = (struct turn_times){0};
	door->blind = !door->known;
}

static void set_queue_id(struct door *door, const char *queue_id)
{
	if (queue_id != NULL && strlen(queue_id) < sizeof door->queue_id)
		strcpy(door->queue_id, queue_id);
}

void door_connected(struct door *door, const struct sockaddr *client, const struct door_macros *macros)
{
	pthread_mutex_lock(&room.mutex);
	door->known = find_peer(door, client) && find_local(door, macros);
	pthread_mutex_unlock(&room.mutex);
	begin_step(door, TURN_UNKNOWN);
	door->blind = !door->known;
	end_step();
}

void door_mail(struct door *door, bool awaited)
{
	begin_step(door, awaited ? TURN_MTA : TURN_UNKNOWN);
	if (!door->fresh && awaited)
		forget_message(door);
	door->fresh = false;
	door->under_way = true;
	end_step();
}

/* Not worth asking the kernel: it comes with MAIL or with DATA, or is looked at. */
void door_outbound(struct door *door)
{
	pthread_mutex_lock(&room.mutex);
	door->outbound = true;
	pthread_mutex_unlock(&room.mutex);
}

void door_data(struct door *door, const char *queue_id)
{
	begin_step(door, TURN_UNKNOWN);
	door->fresh = false;
	door->under_way = door->in_body = true;
	set_queue_id(door, queue_id);
	end_step();
}

/* With the mutex held. The oldest note makes room. */
static void leave_note(const struct door *door)
{
	if (room.note_count == NOTES_MAX) {
		room.first_note = (room.first_note + 1) % NOTES_MAX;
		room.note_count--;
		room.lost++;
	}
	bool told = !door->blind && door->times.unknown == 0;
	struct door_note *note = &room.notes[(room.first_note + room.note_count++) % NOTES_MAX];
	*note = (struct door_note){
		.client = told ? door->times.client : -1,
		.mta = told ? door->times.mta : -1,
		.unknown = door->times.unknown,
		.ended = door->stepped,
		.outbound = door->outbound,
	};
	memcpy(note->queue_id, door->queue_id, sizeof note->queue_id);
}

void door_end(struct door *door, const char *queue_id)
{
	begin_step(door, TURN_MTA);
	set_queue_id(door, queue_id);
	if (door->under_way && queue_id != NULL)
		leave_note(door);
	door->ended = door->under_way;
	forget_message(door);
	end_step();
}

/* Postfix also says so at each EHLO: what was before the first message still counts then. */
void door_abort(struct door *door)
{
	pthread_mutex_lock(&room.mutex);
	if (door->under_way)
		forget_message(door);
	door->ended = false;
	door->stage = STAGE_CLIENT;
	door->cause = CAUSE_DOOR;
	pthread_mutex_unlock(&room.mutex);
}

/* ---- looking, on the loop thread ---- */

/* A session in hand: lent, so that it stays until it is given back. */
struct look {
	struct door *door;
	bool due, under_way;
	usec_t looked;
	struct wait wait;
	char queue_id[sizeof((struct door_note *)NULL)->queue_id];
};

static struct look *looks;
static size_t look_count, look_room;

/* Takes all sessions. Memory is got without the mutex. */
static void take_in_hand(usec_t now)
{
	pthread_mutex_lock(&room.mutex);
	while (room.session_count > look_room) {
		look_room = room.session_count + 64;
		pthread_mutex_unlock(&room.mutex);
		looks = mem_realloc(looks, look_room * sizeof *looks);
		pthread_mutex_lock(&room.mutex);
	}
	look_count = 0;
	LIST_EACH (entry, next, &room.sessions) {
		struct door *door = LIST_ENTRY_OF(entry, struct door, entry);
		door->lent = true;
		looks[look_count++] = (struct look){.door = door,
						    .due = door->known && now - door->stepped > LOOK_AFTER,
						    .under_way = door->under_way,
						    .looked = door->looked};
	}
	pthread_mutex_unlock(&room.mutex);
}

/* Those first that have a message under way and were looked at longest ago. */
static int compare(const void *a, const void *b)
{
	const struct look *one = a, *other = b;
	if (one->due != other->due)
		return one->due ? -1 : 1;
	if (one->under_way != other->under_way)
		return one->under_way ? -1 : 1;
	return one->looked < other->looked ? -1 : one->looked > other->looked;
}

/*
 * With the mutex held: what is waited for, and since when, as the kernel tells it. The MTA is named only where it has
 * the word for sure.
 */
static void find_wait(struct door *door, usec_t now, const struct net_turn *told, enum turn turn)
{
	door->stage = turn == TURN_MTA ? STAGE_MTA : STAGE_CLIENT;
	door->cause = turn == TURN_MTA ? CAUSE_SERVER : turn == TURN_CLIENT ? CAUSE_CLIENT : CAUSE_DOOR;
	if (turn == TURN_CLIENT)
		door->since = told->sent < told->received || !door->in_body ? now - told->sent : door->stepped;
	else if (told->unread == 0 || !door->unread)
		door->since = now - told->received; /* else it has not caught up since */
	if (turn == TURN_MTA && told->unread == 0 && door->since > door->stepped)
		door->since = door->stepped; /* it owes an answer since then, whatever came later */
	door->unread = told->unread > 0;
}

/* With the mutex held. */
static void take_look(struct door *door, usec_t now, const struct net_turn *told)
{
	enum turn turn = turn_judge(told, &door->step, door->in_body);
	struct turn_times times = door->times;
	door->counted = turn_count_look(&times, door->counted, now, told, turn, door->in_body, &door->last);
	if (door->fresh || door->under_way)
		door->times = times;
	else if (told->data_received != door->came)
		door->times.mta = times.mta; /* between two messages, as in count_idle() */
	find_wait(door, now, told, turn);
	door->ended = door->ended && told->data_sent == door->last.told.data_sent;
	door->last = (struct turn_step){.told = *told, .turn = turn};
	if (!door->in_body && turn_settled(told, turn))
		door->step = door->last;
}

static void look_at(struct door *door)
{
	struct net_turn told;
	pthread_mutex_lock(&room.mutex);
	struct sockaddr_storage local = door->local, peer = door->peer;
	unsigned steps = door->steps;
	pthread_mutex_unlock(&room.mutex);
	bool asked = ask(&local, &peer, &told) == NET_TOLD;
	pthread_mutex_lock(&room.mutex);
	if (door->steps == steps && !door->gone) {
		door->looked = clock_now();
		if (asked) {
			take_look(door, door->looked, &told);
		} else {
			door->stage = STAGE_CLIENT;
			door->cause = CAUSE_DOOR;
			door->since = door->stepped;
		}
	}
	pthread_mutex_unlock(&room.mutex);
}

/*
 * Gives the sessions back, with what is waited for where a message is under way; or where one has ended and the MTA is
 * still at work on it. Without a message nothing is told: whoever connects could raise what he likes.
 */
static void give_back(void)
{
	pthread_mutex_lock(&room.mutex);
	for (struct look *look = looks; look < looks + look_count; look++) {
		struct door *door = look->door;
		door->lent = false;
		look->under_way = (door->under_way || (door->ended && door->cause == CAUSE_SERVER)) && !door->gone;
		look->wait = (struct wait){
			.relay = "-", .stage = door->stage, .cause = door->cause, .since = door->since, .messages = 1};
		memcpy(look->queue_id, door->queue_id, sizeof look->queue_id);
		if (!door->gone)
			look->door = NULL;
	}
	pthread_mutex_unlock(&room.mutex);
	for (size_t i = 0; i < look_count; i++)
		free(looks[i].door);
}

void door_each_wait(wait_fn *fn, void *arg)
{
	take_in_hand(clock_now());
	if (look_count == 0)
		return;
	qsort(looks, look_count, sizeof *looks, compare);
	for (size_t i = 0; i < look_count && i < LOOKS_MAX && looks[i].due; i++)
		look_at(looks[i].door);
	give_back();
	for (size_t i = 0; i < look_count; i++) {
		if (!looks[i].under_way)
			continue;
		looks[i].wait.queue_id = looks[i].queue_id;
		fn(&looks[i].wait, arg);
	}
}

/* ---- notes ---- */

static bool take_note(struct door_note *note)
{
	pthread_mutex_lock(&room.mutex);
	bool any = room.note_count > 0;
	if (any) {
		*note = room.notes[room.first_note];
		room.first_note = (room.first_note + 1) % NOTES_MAX;
		room.note_count--;
	}
	pthread_mutex_unlock(&room.mutex);
	return any;
}

/* At most as many as there is room for: what comes meanwhile is taken the next time. */
unsigned long door_take_notes(void (*fn)(const struct door_note *note, void *arg), void *arg)
{
	struct door_note note;
	for (size_t i = 0; i < NOTES_MAX && take_note(&note); i++)
		fn(&note, arg);
	pthread_mutex_lock(&room.mutex);
	unsigned long lost = room.lost;
	room.lost = 0;
	pthread_mutex_unlock(&room.mutex);
	return lost;
}
