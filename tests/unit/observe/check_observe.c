/* Runs the unit tests of the room observe. CK_RUN_SUITE=stats runs those of one module. */
#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "check_observe.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the milter's lines come from libmilter's threads */
static char lines[LINES_MAX][1024];
static enum log_level levels[LINES_MAX];
static unsigned count;

static void take_line(enum log_level level, const char *line)
{
	pthread_mutex_lock(&lock);
	if (count < LINES_MAX) {
		snprintf(lines[count], sizeof lines[count], "%s", line);
		levels[count++] = level;
	}
	pthread_mutex_unlock(&lock);
}

void lines_start(void)
{
	count = 0;
	log_open(LOG_TO_STDERR, true);
	log_capture(take_line);
}

void lines_stop(void)
{
	log_capture(NULL);
	log_close(USEC_PER_SEC);
}

unsigned lines_count(void)
{
	pthread_mutex_lock(&lock);
	unsigned now = count;
	pthread_mutex_unlock(&lock);
	return now;
}

const char *lines_get(unsigned index)
{
	return index < lines_count() ? lines[index] : "";
}

enum log_level lines_level(unsigned index)
{
	ck_assert_uint_lt(index, lines_count());
	return levels[index];
}

void lines_forget(void)
{
	pthread_mutex_lock(&lock);
	count = 0;
	pthread_mutex_unlock(&lock);
}

int main(void)
{
	SRunner *runner = srunner_create(door_suite());
	srunner_add_suite(runner, histogram_suite());
	srunner_add_suite(runner, journeys_suite());
	srunner_add_suite(runner, latency_suite());
	srunner_add_suite(runner, milter_suite());
	srunner_add_suite(runner, outcome_suite());
	srunner_add_suite(runner, quiet_suite());
	srunner_add_suite(runner, seconds_suite());
	srunner_add_suite(runner, stall_suite());
	srunner_add_suite(runner, stats_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
