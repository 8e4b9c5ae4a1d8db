/*
 * Postfix registered with relaypool, looked at, or freed of it: the order in which the parts of setup are called. Called
 * by relaypoolctl. What is wanted stands in plan.c, what is in the way in check.c and its neighbours.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "postfix.h"

/* The instance at work. */
struct instance {
	struct setup_request request;
	char **domains; /* of an earlier --apply; NULL: those of the request hold */
	struct look look;
	struct store store;
	struct plan plan;
};

/* "relaypoolctl setup postfix -i NAME OPTION"; the caller's. */
static char *command_of(const struct instance *instance, const char *option)
{
	const char *name = instance->request.instance;
	return name ? mem_printf("relaypoolctl setup postfix -i %s %s", name, option)
		    : mem_printf("relaypoolctl setup postfix %s", option);
}

/* ---- reading the configuration again ---- */

static bool command_postfix(const struct instance *instance, const char *command, char error[SETUP_ERROR_SIZE])
{
	const char *name = instance->request.instance;
	const char *named[] = {"postmulti", "-i", name, "-p", command, NULL};
	const char *plain[] = {"postfix", "-c", instance->look.directory, command, NULL};
	struct run run;
	bool good = run_program(name ? named : plain, RUN_LIMIT, &run, error);
	run_free(&run);
	return good;
}

static bool reload(const struct instance *instance, char error[SETUP_ERROR_SIZE])
{
	char why[SETUP_ERROR_SIZE];
	if (command_postfix(instance, "reload", error))
		return true;
	if (!command_postfix(instance, "status", why))
		snprintf(error, SETUP_ERROR_SIZE, "it does not run, and reads them when it is started");
	return false;
}

/* How it goes on: all of this holds for a Postfix that runs only when it has read it. */
static bool finish(const struct instance *instance, struct report *report, const char *then,
		   char error[SETUP_ERROR_SIZE])
{
	const char *name = instance->request.instance;
	if (instance->request.reload) {
		char why[SETUP_ERROR_SIZE];
		if (!reload(instance, why)) {
			snprintf(error, SETUP_ERROR_SIZE,
				 "the files are written, but Postfix has not read them: %.900s", why);
			return false;
		}
		report_close(report, "Postfix has read its configuration again. %s", then);
	} else {
		char *command = name ? mem_printf("postmulti -i %s -p reload", name) : mem_strdup("postfix reload");
		/* smtpd and others start anew all the time and read main.cf; master(8) knows the old services. */
		report_close(report,
			     "Run `%s' now: until then some of Postfix's processes have the new settings, and others "
			     "the old ones. %s",
			     command, then);
		free(command);
	}
	return true;
}

/* ---- what is found ---- */

static void add_items(const struct plan *plan, struct report *report)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct item *item = &plan->items[i];
		bool text = item->kind != ITEM_FILE;
		enum finding_state state = item->right ? FINDING_OK : item->was ? FINDING_DIFFERS : FINDING_MISSING;
		report_add(report, &(struct finding){.state = state,
						     .where = item_where(item),
						     .name = item->name,
						     .is = text ? item->is : NULL,
						     .shall = text ? (item->shall ? item->shall : "(nothing)") : NULL,
						     .why = item->right ? NULL : item->why});
	}
}

static bool names_domain(const struct setup_request *request, const char *domain)
{
	for (size_t i = 0; i < request->domain_count; i++)
		if (strcasecmp(request->domains[i], domain) == 0)
			return true;
	return false;
}

/* Domains of an earlier --apply that this request does not have. */
static void add_domains_left(const struct instance *instance, struct report *report)
{
	const struct setup_request *request = &instance->request;
	size_t count;
	char **before = memory_domains(&instance->store, &count);
	for (size_t i = 0; request->domain_count > 0 && i < count; i++)
		if (!names_domain(request, before[i]))
			report_note(report, "main.cf", "transport_maps",
				    "%s is not named any more: its mail takes its old way.", before[i]);
	free(before);
}

/* " for example.org, example.net only", or "" for all mail; the caller's. */
static char *domains_text(const struct setup_request *request)
{
	char *text = mem_strdup("");
	for (size_t i = 0; i < request->domain_count; i++) {
		char *more = mem_printf("%s%s %s%s", text, i == 0 ? " for" : ",", request->domains[i],
					i + 1 == request->domain_count ? " only" : "");
		free(text);
		text = more;
	}
	return text;
}

static void add_obstacles(const struct instance *instance, struct report *report)
{
	add_domains_left(instance, report);
	check_services(&instance->plan, &instance->request, &instance->look, report);
	check_settings(&instance->plan, &instance->request, &instance->look, report);
	check_senders(&instance->request, &instance->look, report);
	check_sockets(instance->request.conf, &instance->look, report);
}

static unsigned changes_of(const struct plan *plan)
{
	unsigned changes = 0;
	for (size_t i = 0; i < plan->count; i++)
		changes += !plan->items[i].right;
	return changes;
}

static void close_look(const struct instance *instance, struct report *report)
{
	unsigned changes = changes_of(&instance->plan);
	unsigned others = report->counts[FINDING_WRONG] + report->counts[FINDING_CONFLICT] - report->stops;
	char *command = command_of(instance, "--apply"), *domains = domains_text(&instance->request);
	char *other = others > 0 ? mem_printf(" %u more %s left to you.", others, others == 1 ? "is" : "are")
				 : mem_strdup("");
	if (report->stops > 0)
		report_close(report, "--apply refuses because of %u of these, unless --force is given.%s",
			     report->stops, other);
	else if (changes > 0)
		report_close(report, "%u change%s needed. %s makes %s, --undo reverts.%s", changes,
			     changes == 1 ? "" : "s", command, changes == 1 ? "it" : "them", other);
	else
		report_close(report, "relaypool is registered with Postfix%s; nothing has to be changed.%s", domains,
			     other);
	free(domains);
	free(command);
	free(other);
}

/* ---- what is done ---- */

static bool apply(struct instance *instance, struct report *report, char error[SETUP_ERROR_SIZE])
{
	add_obstacles(instance, report);
	if (report->stops > 0 && !instance->request.force) {
		report_close(report, "Nothing was changed: see what stands above as conflict or wrong. --force goes on "
				     "all the same.");
		return true;
	}
	if (plan_done(&instance->plan)) {
		report_close(report, "Nothing had to be changed: relaypool is registered with Postfix.");
		return true;
	}
	if (!postfix_apply(&instance->plan, &instance->look, &instance->store, report, error))
		return false;
	char *command = command_of(instance, "--undo"), *then = mem_printf("%s takes it all back.", command);
	bool good = finish(instance, report, then, error);
	free(then);
	free(command);
	return good;
}

static bool undo(struct instance *instance, struct report *report, char error[SETUP_ERROR_SIZE])
{
	static const char then[] =
		"Mail that waits in the queue takes its old way after that, at once with `postqueue -f' of "
		"that instance; it may carry one X-Relaypool field, which names nobody.";
	if (!instance->store.state) {
		snprintf(error, SETUP_ERROR_SIZE, "there is nothing to undo: no --apply has changed %s",
			 instance->look.directory);
		return false;
	}
	if (!postfix_undo(instance->look.directory, &instance->store, report, error))
		return false;
	if (report->counts[FINDING_KEPT] == 0)
		return finish(instance, report, then, error);
	char *left =
		mem_printf("%u of what --apply made %s not taken back: see what stands above as kept. Change that by "
			   "hand; another --undo looks at it again. %s",
			   report->counts[FINDING_KEPT], report->counts[FINDING_KEPT] == 1 ? "was" : "were", then);
	bool good = finish(instance, report, left, error);
	free(left);
	return good;
}

static bool show(struct instance *instance, struct report *report)
{
	add_items(&instance->plan, report);
	add_obstacles(instance, report);
	if (instance->store.hidden)
		report_note(report, "setup", "memory", "What was applied earlier can be seen by root only.");
	close_look(instance, report);
	return true;
}

/* A check of what was applied for some domains is one for those. */
static void take_domains(struct instance *instance)
{
	if (instance->request.action == SETUP_CHECK && instance->request.domain_count == 0) {
		instance->domains = memory_domains(&instance->store, &instance->request.domain_count);
		instance->request.domains = instance->domains;
	}
}

static bool act(struct instance *instance, struct report *report, char error[SETUP_ERROR_SIZE])
{
	if (instance->request.action == SETUP_UNDO)
		return undo(instance, report, error);
	take_domains(instance);
	plan_make(&instance->plan, &instance->request, &instance->look);
	if (instance->plan.problem) {
		snprintf(error, SETUP_ERROR_SIZE, "%s", instance->plan.problem);
		return false;
	}
	memory_take_out(&instance->store, &instance->plan);
	memory_give_back(&instance->store, &instance->look, &instance->plan);
	return instance->request.action == SETUP_APPLY ? apply(instance, report, error) : show(instance, report);
}

bool setup_postfix(const struct setup_request *request, struct report *report, char error[SETUP_ERROR_SIZE])
{
	struct instance instance = {.request = *request};
	bool changes = request->action == SETUP_APPLY || request->action == SETUP_UNDO;
	char *directory = look_find(request->instance, error);
	if (!directory)
		return false;
	char *name = mem_printf("postfix%s", directory);
	/* The lock comes first: what is looked at stays so. */
	bool good = store_open(&instance.store, name, changes ? STORE_CHANGE : STORE_LOOK, error);
	if (good) {
		good = look_at(&instance.look, directory, error) && act(&instance, report, error);
		store_close(&instance.store);
	}
	free(instance.domains);
	plan_free(&instance.plan);
	if (instance.look.directory)
		look_free(&instance.look);
	free(name);
	free(directory);
	return good;
}
