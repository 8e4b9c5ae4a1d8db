/*
 * Senders that have a relay or an account of their own: default_transport would take both from them. Called by
 * postfix.c; adds what keeps --apply from going on: a sender that no route names, or a table that cannot be listed.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix.h"

#define SHOWN_MAX 3 /* senders named in a finding; the rest is counted */

struct senders {
	const struct conf *conf;
	bool addresses_only; /* other keys are hosts */
	unsigned count, unmatched;
	char *shown; /* the first of those that match no route */
};

/* Routes with more conditions take some of his mail only. */
static bool address_has_route(const struct conf *conf, const char *sender)
{
	for (size_t i = 0; i < conf->route_count; i++) {
		const struct route_conf *route = &conf->routes[i];
		if (route->sender_count > 0 && route->recipient_count == 0 && !route_conf_needs_tag(route) &&
		    conf_address_matches(route->senders, route->sender_count, sender))
			return true;
	}
	return false;
}

bool sender_has_route(const struct conf *conf, const char *sender)
{
	if (sender[0] != '@')
		return address_has_route(conf, strcmp(sender, "<>") == 0 ? "" : sender);
	/* Two names that have nothing in common, lest a pattern for some of them is enough. */
	char *one = mem_printf("relaypool-anybody%s", sender), *other = mem_printf("0%s", sender);
	bool found = address_has_route(conf, one) && address_has_route(conf, other);
	free(one);
	free(other);
	return found;
}

/* "user@example.org"; or "@example.org", which stands for anybody there. */
static void see_key(const char *key, void *arg)
{
	struct senders *senders = arg;
	if (senders->addresses_only && !strchr(key, '@'))
		return;
	senders->count++;
	if (!sender_has_route(senders->conf, key)) {
		if (senders->unmatched++ < SHOWN_MAX) {
			char *more = mem_printf("%s%s%s", senders->shown ? senders->shown : "",
						senders->shown ? ", " : "", key);
			free(senders->shown);
			senders->shown = more;
		}
	}
}

static void add(const struct look *look, struct report *report, enum finding_state state, const char *name,
		const char *why)
{
	report_add(report, &(struct finding){.state = state,
					     .where = "main.cf",
					     .name = name,
					     .is = look_shown(look, name),
					     .why = why,
					     .stops = state == FINDING_CONFLICT});
}

static void add_result(const struct look *look, struct report *report, const char *name, const struct senders *senders)
{
	char *rest = senders->unmatched > SHOWN_MAX ? mem_printf(" and %u more", senders->unmatched - SHOWN_MAX)
						    : mem_strdup("");
	char *why =
		senders->unmatched > 0
			? mem_printf("No route of relaypool.conf takes all mail of: %s%s. It would leave by another "
				     "account: name them in `senders' of a route that has no other condition.",
				     senders->shown, rest)
			: mem_printf("Not used any more for what goes to relaypoold; its %u senders have routes in "
				     "relaypool.conf.",
				     senders->count);
	if (senders->unmatched > 0 || senders->count > 0)
		add(look, report, senders->unmatched > 0 ? FINDING_CONFLICT : FINDING_NOTE, name, why);
	free(why);
	free(rest);
}

static void check_maps(const struct setup_request *request, const struct look *look, struct report *report,
		       const char *name, bool addresses_only)
{
	struct senders senders = {.conf = request->conf, .addresses_only = addresses_only};
	const char *list = look_expanded(look, name), *element;
	size_t length;
	while (list_next(&list, &element, &length)) {
		char error[SETUP_ERROR_SIZE], *map = mem_strndup(element, length);
		/* static:… in smtp_sasl_password_maps is one account for all, as relaypool.conf has it too. */
		bool one = addresses_only && strncmp(map, "static:", 7) == 0;
		if (!one && !map_each(look, map, see_key, &senders, error)) {
			bool secret = !look_shown(look, name); /* postmap's words have all of it, too */
			char *which = secret ? mem_strdup("A table with passwords in it cannot be listed")
					     : mem_printf("%s cannot be listed (%s)", map, error);
			char *why = mem_printf("%s: whether all its senders have routes in relaypool.conf is for you "
					       "to see.",
					       which);
			add(look, report, FINDING_CONFLICT, name, why);
			free(why);
			free(which);
		}
		free(map);
	}
	add_result(look, report, name, &senders);
	free(senders.shown);
}

void check_senders(const struct setup_request *request, const struct look *look, struct report *report)
{
	check_maps(request, look, report, "sender_dependent_relayhost_maps", false);
	if (strcmp(look_expanded(look, "smtp_sender_dependent_authentication"), "yes") == 0)
		check_maps(request, look, report, "smtp_sasl_password_maps", true);
}
