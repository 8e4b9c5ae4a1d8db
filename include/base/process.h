/*
 * The process as the system sees it: its user, its limits, its place in the background, its lock, its readiness.
 * Called by main, once each, in the order given here, and by what else a service manager is spoken to for; knows nothing
 * of mail.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <sys/types.h>

#include "relaypool.h"

#define PROCESS_ERROR_SIZE 1024

/* Whom to become. */
struct process_user {
	char name[64];
	uid_t uid;
	gid_t gid;
	bool change; /* we are root and are to become somebody else */
};

/*
 * Finds the user to run as. `name` NULL, or not being root: stay who we are. False with a sentence in `error` if there
 * is no such user.
 */
bool process_user_find(const char *name, struct process_user *user, char error[PROCESS_ERROR_SIZE]) MUST_CHECK;

/* The group of the name; (gid_t)-1 for NULL. False with a sentence in `error` if there is none. */
bool process_group_find(const char *name, gid_t *group, char error[PROCESS_ERROR_SIZE]) MUST_CHECK;

/*
 * A number that the service manager tells by the environment, and takes it out of there: what we start is not to believe
 * it its own. -1 if there is none. Before threads run.
 */
int64_t process_take_number(const char *variable);

/*
 * Where the service manager listens (NOTIFY_SOCKET), taken out of the environment: what we start is not to speak to it.
 * Before threads run.
 */
void process_take_manager(void);

/*
 * Goes to the background: returns in the child only, which leads a session of its own in the root directory. The
 * parent waits, exits 0 after the child's process_ready(), and 1 if the child ends before. A service manager, which
 * process_take_manager() has found, wants no child: only the directory is changed then. Before any thread starts.
 */
bool process_background(char error[PROCESS_ERROR_SIZE]) MUST_CHECK;

/* As many descriptors as the hard limit allows, no core dumps, SIGPIPE ignored. */
void process_limits(void);

/*
 * Makes a directory whose parent exists, owned by `user`; one that is there is left as it is. False with a sentence in
 * `error` if there is none afterwards.
 */
bool process_directory(const char *path, mode_t mode, const struct process_user *user,
		       char error[PROCESS_ERROR_SIZE]) MUST_CHECK;

/*
 * Acts as `user` on files for a while, so that root never follows a link that the user laid; back with
 * process_act_as_self(). Only before threads run.
 */
void process_act_as(const struct process_user *user);
void process_act_as_self(void);

/*
 * Takes the lock that one daemon holds on its spool directory, a file that stays as long as it runs. `*unclean`: the
 * file was there, so the last one did not end properly. False with a sentence in `error` if another one runs.
 */
bool process_lock(const char *path, bool *unclean, char error[PROCESS_ERROR_SIZE]) MUST_CHECK;
/* A clean end: removes the file. After any other end it stays, and the lock ends with us. Harmless without a lock. */
void process_unlock(void);

/*
 * Becomes `user` for good, and lets nobody look into our memory (secrets). False with a sentence in `error` if that failed
 * or could be undone.
 */
bool process_drop(const struct process_user *user, char error[PROCESS_ERROR_SIZE]) MUST_CHECK;

/* Tells the parent in the foreground, if there is one, that the daemon works; detaches from the terminal. */
void process_ready(void);

/* Tells the service manager (sd_notify(3) without its library): "READY=1". Harmless where none was taken. */
void process_notify(const char *state);

#endif
