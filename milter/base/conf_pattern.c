/*
 * The patterns of a route's senders and recipients: what they match, and which can match nothing. Called by conf_types.c
 * as they are read, and through base/conf.h for each message; never looks at anything but the two texts.
 */
#include <config.h>

#include <fnmatch.h>
#include <string.h>
#include <strings.h>

#include "base/conf.h"
#include "conf_types.h"

#define WILDCARDS "*?["

static bool pattern_matches(const char *pattern, const char *address)
{
	const char *at = strrchr(address, '@'); /* the last: a quoted local part may have more (RFC 5321 §4.1.2) */
	const char *domain = at != NULL ? at + 1 : "";
	if (strcmp(pattern, "<>") == 0)
		return address[0] == '\0';
	if (pattern[0] == '@')
		return at != NULL && fnmatch(pattern + 1, domain, FNM_CASEFOLD) == 0;
	if (pattern[0] == '.')
		return strlen(domain) > strlen(pattern) &&
		       strcasecmp(domain + strlen(domain) - strlen(pattern), pattern) == 0;
	return fnmatch(pattern, address, FNM_CASEFOLD) == 0;
}

bool conf_address_matches(char *const *patterns, size_t count, const char *address)
{
	for (size_t i = 0; i < count; i++) {
		if (pattern_matches(patterns[i], address))
			return true;
	}
	return count == 0;
}

/* ---- what matches nothing ---- */

/* To fnmatch(3) "[192.0.2.1]" is one of these characters, and not an address literal. */
static bool is_literal(const char *domain)
{
	return domain[0] == '[' && strchr(domain, ']') == domain + strlen(domain) - 1;
}

/* True if no domain looks like this (RFC 5321 §4.1.2). */
static bool is_no_domain(const char *domain)
{
	return domain[0] == '\0' || domain[0] == '.' || domain[strlen(domain) - 1] == '.' ||
	       strpbrk(domain, " @<>\",;") != NULL;
}

const char *conf_pattern_problem(const char *pattern, bool recipient)
{
	static const char forms[] = "no address looks like this: \"@example.org\" for a domain, \".example.org\" for "
				    "what is below it, or a pattern for the whole address is needed";
	const char *at = strrchr(pattern, '@');
	if (strcmp(pattern, "<>") == 0)
		return recipient ? "no recipient is empty; only the sender of a bounce is" : NULL;
	if (pattern[0] == '.')
		return is_no_domain(pattern + 1) || strpbrk(pattern, WILDCARDS) != NULL ? forms : NULL;
	if (pattern[0] == '@')
		at = pattern;
	if (at == NULL && recipient && strcasecmp(pattern, "postmaster") == 0)
		return NULL; /* the only address without a domain (RFC 5321 §4.1.1.3) */
	if (at == NULL)
		return strpbrk(pattern, WILDCARDS) == NULL ? forms : NULL;
	if (is_literal(at + 1))
		return "brackets stand for one character here: an address literal is written as in \"@?192.0.2.1?\"";
	return pattern[0] == '<' || pattern[0] == ' ' || is_no_domain(at + 1) ? forms : NULL;
}
