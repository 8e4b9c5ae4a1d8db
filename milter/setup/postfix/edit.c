/*
 * Changes of main.cf and master.cf, made by postconf(1) alone. Called to apply and to undo; on a copy first, so that what
 * fails does so there. Never writes to these files itself.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix.h"

/* The option of postconf that sets one, and the one that takes it out. */
static const char *const setting[ITEM_KINDS] = {"-e", "-M", "-P", "-F", NULL, NULL};
static const char *const removing[ITEM_KINDS] = {"-X", "-MX", "-PX", NULL, NULL, NULL};

/*
 * One command for one item: postconf writes several new parameters in an order of its own, another one each time, and
 * then nobody could tell beforehand what the file will be.
 */
static bool edit_item(const char *directory, const struct item *item, char error[SETUP_ERROR_SIZE])
{
	char *assignment = item->shall ? mem_printf("%s=%s", item->name, item->shall) : mem_strdup(item->name);
	const char *option = item->shall ? setting[item->kind] : removing[item->kind];
	const char *command[] = {"postconf", "-c", directory, option, assignment, NULL};
	struct run run;
	bool good = run_program(command, RUN_LIMIT, &run, error);
	run_free(&run);
	free(assignment);
	return good;
}

bool edit_run(const char *directory, const struct plan *plan, edit_step_fn *step, void *arg,
	      char error[SETUP_ERROR_SIZE])
{
	bool good = true;
	for (size_t i = 0; good && i < plan->count; i++) {
		const struct item *item = &plan->items[i];
		if (!item->right && item->kind != ITEM_FILE && item->kind != ITEM_DIRECTORY)
			good = edit_item(directory, item, error) && (!step || step(directory, arg, error));
	}
	return good;
}
