/*
 * The items of a plan: what is there, what shall be, and whether that is so already. Filled by plan.c and entry.c, read by
 * whoever applies, undoes or reports. Knows no setting by itself.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix.h"

const char *const item_kind_names[ITEM_KINDS] = {"parameter", "service", "override", "field", "file", "directory"};

static char *copy_of(const char *text)
{
	return text ? mem_strdup(text) : NULL;
}

struct item *plan_add(struct plan *plan, enum item_kind kind, const char *name, const char *was, const char *shall)
{
	plan->items = mem_realloc(plan->items, (plan->count + 1) * sizeof(*plan->items));
	struct item *item = &plan->items[plan->count++];
	*item = (struct item){.kind = kind,
			      .name = mem_strdup(name),
			      .was = copy_of(was),
			      .is = copy_of(was),
			      .shall = copy_of(shall)};
	item->right = was && shall ? strcmp(was, shall) == 0 : !was && !shall;
	return item;
}

void plan_free(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		free(plan->items[i].name);
		free(plan->items[i].was);
		free(plan->items[i].is);
		free(plan->items[i].shall);
		free(plan->items[i].part);
	}
	free(plan->items);
	free(plan->milter);
	free(plan->nexthop);
	free(plan->problem);
	*plan = (struct plan){0};
}

bool plan_done(const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		if (!plan->items[i].right)
			return false;
	return true;
}

const char *item_where(const struct item *item)
{
	static const char *const where[ITEM_KINDS] = {"main.cf",   "master.cf", "master.cf",
						      "master.cf", "file",      "directory"};
	return where[item->kind];
}
