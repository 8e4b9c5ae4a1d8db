/*
 * What the files of relaypoolctl share. ctl.c has the command line and the views, ctl_daemon.c asks, ctl_table.c writes.
 */
#ifndef CTL_H
#define CTL_H

enum exit_code {
	EXIT_OK = 0,
	EXIT_PROBLEM = 1,    /* the daemon refused, or the answer tells of a problem */
	EXIT_USAGE = 2,      /* the command line is wrong */
	EXIT_NO_DAEMON = 3,  /* nobody answers */
	EXIT_PERMISSION = 4, /* not for this user */
};

#endif
