/* What relaypool wants of Postfix, from relaypool.conf and what postconf would have shown; and the way back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/mem.h"
#include "check_setup.h"
#include "postfix/postfix.h"

#define RELAYS                                                                            \
	"relay \"a\" { host = \"a.example\"\n max-connections = 120\n tls = \"none\" }\n" \
	"relay \"b\" { host = \"b.example\"\n max-connections = 20\n tls = \"none\" }\n"
#define MILTER                                                                                          \
	"{ unix:relaypool/milter.sock, default_action=accept, connect_timeout=2s, command_timeout=5s, " \
	"content_timeout=10s }"

static struct conf *conf;
static struct look look;
static struct plan plan;

static void load(const char *text)
{
	char path[] = "/tmp/check_plan.XXXXXX", error[CONF_ERROR_SIZE];
	int fd = mkstemp(path);
	ck_assert_int_ne(fd, -1);
	FILE *file = fdopen(fd, "w");
	fputs(text, file);
	fclose(file);
	conf_unref(&conf);
	conf = conf_load(path, error);
	unlink(path);
	ck_assert_msg(conf != NULL, "%s", error);
}

static void set(const char *name, const char *value)
{
	json_object_set_new(look.set, name, json_string(value));
	json_object_set_new(look.values, name, json_string(value));
	json_object_set_new(look.expanded, name, json_string(value));
}

/* Nothing set; a queue directory that is nowhere, so that no directory of this host is looked at. */
static void begin(void)
{
	look = (struct look){.directory = mem_strdup("/nowhere/postfix"),
			     .values = json_object(),
			     .expanded = json_object(),
			     .set = json_object(),
			     .services = json_object(),
			     .fields = json_object(),
			     .overrides = json_object()};
	json_object_set_new(look.expanded, "queue_directory", json_string("/var/spool/postfix"));
	json_object_set_new(look.expanded, "default_process_limit", json_string("100"));
	load(RELAYS);
}

static void end(void)
{
	plan_free(&plan);
	look_free(&look);
	conf_unref(&conf);
}

static void make(char **domains, size_t count)
{
	const struct setup_request request = {.conf = conf, .domains = domains, .domain_count = count};
	plan_free(&plan);
	plan_make(&plan, &request, &look);
}

static const struct item *item_of(const char *name)
{
	for (size_t i = 0; i < plan.count; i++)
		if (strcmp(plan.items[i].name, name) == 0)
			return &plan.items[i];
	return NULL;
}

static void assert_shall(const char *name, const char *shall)
{
	const struct item *item = item_of(name);
	ck_assert_msg(item != NULL, "%s is not in the plan", name);
	ck_assert_msg(!item->right, "%s is right already", name);
	ck_assert_str_eq(item->shall, shall);
}

static void assert_right(const char *name)
{
	const struct item *item = item_of(name);
	ck_assert_msg(item != NULL && item->right, "%s is not right", name);
}

START_TEST(a_bare_postfix_gets_all_of_it)
{
	make(NULL, 0);
	assert_shall("default_transport", "relaypool:unix:relaypool/lmtp.sock");
	assert_shall("smtpd_milters", MILTER);
	assert_shall("non_smtpd_milters", MILTER);
	assert_shall("smtp_header_checks", "regexp:$config_directory/relaypool_header_checks");
	assert_shall("relaypool_destination_concurrency_limit", "140");
	assert_shall("relaypool_initial_destination_concurrency", "140");
	assert_shall("relaypool_destination_concurrency_failed_cohort_limit", "0");
	assert_shall(
		"relaypool/unix",
		"relaypool unix - - n - 140 lmtp -o syslog_name=postfix/relaypool -o lmtp_send_xforward_command=yes "
		"-o lmtp_data_done_timeout=600s -o lmtp_tls_security_level=none -o lmtp_sasl_auth_enable=no "
		"-o lmtp_generic_maps=$smtp_generic_maps");
	ck_assert_ptr_eq(item_of("default_transport"), &plan.items[plan.count - 1]);
}
END_TEST

START_TEST(sockets_are_spelt_as_postfix_wants_them)
{
	load("milter = \"inet:2425@localhost\"\nlmtp = \"inet:2424@[::1]\"\n" RELAYS);
	make(NULL, 0);
	assert_shall("default_transport", "relaypool:inet:[::1]:2424");
	ck_assert_ptr_nonnull(strstr(plan.milter, "{ inet:localhost:2425, default_action"));
	load("milter = \"unix:/run/relaypool/milter.sock\"\n"
	     "lmtp = { \"unix:/run/relaypool/lmtp.sock\", \"unix:/var/spool/postfix/relaypool/lmtp.sock\" }\n" RELAYS);
	make(NULL, 0);
	assert_shall("default_transport", "relaypool:unix:relaypool/lmtp.sock");
	ck_assert_ptr_nonnull(strstr(plan.milter, "{ unix:/run/relaypool/milter.sock, "));
}
END_TEST

START_TEST(what_is_there_stays_beside_ours)
{
	set("smtpd_milters", "inet:localhost:8891, inet:localhost:11332");
	set("non_smtpd_milters", "inet:localhost:8891");
	set("smtp_header_checks", "pcre:/etc/postfix/own");
	make(NULL, 0);
	assert_shall("smtpd_milters", "inet:localhost:8891, inet:localhost:11332, " MILTER);
	assert_shall("non_smtpd_milters", "inet:localhost:8891, " MILTER);
	assert_shall("smtp_header_checks", "regexp:$config_directory/relaypool_header_checks, pcre:/etc/postfix/own");
}
END_TEST

START_TEST(ours_is_known_in_every_spelling)
{
	set("smtpd_milters", "inet:a:1, { unix:/var/spool/postfix/relaypool/milter.sock, default_action=accept }");
	json_object_set_new(look.values, "non_smtpd_milters", json_string("$smtpd_milters"));
	make(NULL, 0);
	assert_right("smtpd_milters");
	assert_right("non_smtpd_milters");
	set("smtpd_milters", "unix:relaypool/milter.sock, inet:a:1");
	make(NULL, 0);
	assert_shall("smtpd_milters", "inet:a:1, " MILTER);
	set("smtpd_milters", "inet:a:1, unix:relaypool/milter.sock");
	make(NULL, 0);
	assert_shall("smtpd_milters", "inet:a:1, " MILTER); /* mail would be refused while it is down */
	json_object_set_new(look.expanded, "milter_default_action", json_string("accept"));
	make(NULL, 0);
	assert_right("smtpd_milters");
	load("milter = \"inet:2425@127.0.0.1\"\n" RELAYS);
	set("smtpd_milters", "{ inet:localhost:2425, default_action=accept }");
	make(NULL, 0);
	assert_right("smtpd_milters");
}
END_TEST

START_TEST(domains_have_transport_maps)
{
	char *domains[] = {(char *)"one.example", (char *)"two.example"};
	set("transport_maps", "hash:/etc/postfix/transport");
	make(domains, 2);
	assert_shall("transport_maps",
		     "inline:{ { one.example = relaypool:unix:relaypool/lmtp.sock }, "
		     "{ two.example = relaypool:unix:relaypool/lmtp.sock } }, hash:/etc/postfix/transport");
	ck_assert_ptr_null(item_of("default_transport"));
	set("transport_maps", item_of("transport_maps")->shall);
	make(domains, 1);
	assert_shall("transport_maps",
		     "inline:{ { one.example = relaypool:unix:relaypool/lmtp.sock } }, hash:/etc/postfix/transport");
	set("transport_maps", "inline:{ { a.example = relaypool:unix:x }, { b.example = smtp:[b] } }");
	make(domains, 1);
	assert_shall("transport_maps", "inline:{ { one.example = relaypool:unix:relaypool/lmtp.sock } }, "
				       "inline:{ { a.example = relaypool:unix:x }, { b.example = smtp:[b] } }");
	domains[0] = (char *)"x } , y";
	make(domains, 1);
	ck_assert_ptr_nonnull(plan.problem);
}
END_TEST

START_TEST(the_direct_way_has_its_services)
{
	load("failover = \"direct\"\nsmtp = \"inet:10025@127.0.0.1\"\ndeadline = 800\n" RELAYS);
	make(NULL, 0);
	assert_shall("default_transport", "relaypool:[127.0.0.1]:10025");
	assert_shall("relaypool_destination_recipient_limit", "1");
	assert_shall("relaypool_direct_destination_concurrency_limit", "140");
	ck_assert_ptr_nonnull(strstr(item_of("relaypool/unix")->shall, "-o smtp_fallback_relay=[127.0.0.1]:10026 "));
	ck_assert_ptr_nonnull(strstr(item_of("relaypool/unix")->shall, "-o smtp_data_done_timeout=860s "));
	ck_assert_ptr_nonnull(item_of("127.0.0.1:10026/inet"));
	ck_assert_ptr_nonnull(item_of("relaypool_direct/unix"));
}
END_TEST

START_TEST(an_entry_of_ours_keeps_what_was_added)
{
	json_object_set_new(look.services, "relaypool/unix", json_string("relaypool unix - - y - 50 lmtp -o x=y"));
	json_object_set_new(look.fields, "relaypool/unix/command", json_string("lmtp -o x=y"));
	json_object_set_new(look.fields, "relaypool/unix/process_limit", json_string("50"));
	json_object_set_new(look.overrides, "relaypool/unix/lmtp_data_done_timeout", json_string("9m"));
	make(NULL, 0);
	assert_right("relaypool/unix");
	assert_shall("relaypool/unix/process_limit", "140");
	assert_shall("relaypool/unix/lmtp_data_done_timeout", "600s");
	json_object_set_new(look.overrides, "relaypool/unix/lmtp_data_done_timeout", json_string("1h"));
	json_object_set_new(look.fields, "relaypool/unix/process_limit", json_string("0"));
	make(NULL, 0);
	assert_right("relaypool/unix/lmtp_data_done_timeout");
	ck_assert_ptr_null(item_of("relaypool/unix/process_limit"));
}
END_TEST

START_TEST(times_are_read_as_postfix_does)
{
	ck_assert_int_eq(plan_seconds("600"), 600);
	ck_assert_int_eq(plan_seconds("600s"), 600);
	ck_assert_int_eq(plan_seconds("10m"), 600);
	ck_assert_int_eq(plan_seconds("2h"), 7200);
	ck_assert_int_eq(plan_seconds("1w"), 604800);
	ck_assert_int_eq(plan_seconds("soon"), -1);
	ck_assert_int_eq(plan_seconds("5y"), -1);
}
END_TEST

/* ---- what is in the way ---- */

static struct report report;

/* The state of what was found of a setting; "" if nothing was. */
static const char *state_of(const char *name)
{
	size_t i;
	const json_t *finding;
	const char *state = "";
	json_array_foreach(report.findings, i, finding)
	{
		if (strcmp(json_string_value(json_object_get(finding, "name")), name) == 0)
			state = json_string_value(json_object_get(finding, "state"));
	}
	return state;
}

static void check(void (*looks)(const struct plan *, const struct setup_request *, const struct look *,
				struct report *))
{
	const struct setup_request request = {.conf = conf};
	make(NULL, 0);
	report_free(&report);
	report_init(&report);
	looks(&plan, &request, &look, &report);
}

START_TEST(a_server_at_our_port_is_left_alone)
{
	static const char *const taken[] = {"127.0.0.1:10026/inet", "localhost:10026/inet", "10026/inet", "10025/inet"};
	load("failover = \"direct\"\nsmtp = \"inet:10025@127.0.0.1\"\n" RELAYS);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		char *key = mem_printf("%s/command", taken[i]);
		json_object_set_new(look.services, taken[i], json_string("x inet n - n - - smtpd -o content_filter="));
		json_object_set_new(look.fields, key, json_string("smtpd -o content_filter="));
		free(key);
		check(check_services);
		ck_assert_str_eq(state_of(taken[i]), "conflict");
		ck_assert_uint_eq(report.stops, 1);
		ck_assert_ptr_null(item_of("127.0.0.1:10026/inet/content_filter"));
		json_object_clear(look.services);
	}
	json_object_set_new(look.services, "192.0.2.1:10026/inet", json_string("x"));
	json_object_set_new(look.services, "127.0.0.1:10027/inet", json_string("x"));
	check(check_services);
	ck_assert_uint_eq(report.stops, 0);
	report_free(&report);
}
END_TEST

START_TEST(a_sender_keeps_his_account_by_a_route_for_all_his_mail)
{
	load(RELAYS
	     "route \"some\" { relays = { \"a\" }\n senders = { \"x@a.example\" }\n recipients = { \"@b.example\" } }\n"
	     "route \"in\" { relays = { \"a\" }\n senders = { \"y@a.example\" }\n users = { \"*\" } }\n"
	     "route \"named\" { relays = { \"a\" }\n senders = { \"z@a.example\", \"@one.example\", \".two.example\", "
	     "\"[a-z]*@three.example\", \"*@four.example\", \"<>\" } }\n"
	     "route \"all\" { relays = { \"b\" } }\n");
	static const char *const with[] = {"z@a.example",    "Z@A.EXAMPLE",     "@one.example",  "q@one.example",
					   "@x.two.example", "q@three.example", "@four.example", "<>"};
	static const char *const without[] = {"x@a.example",  "y@a.example",    "@a.example",
					      "@two.example", "@three.example", "two.example"};
	for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++)
		ck_assert_msg(sender_has_route(conf, with[i]), "%s has no route", with[i]);
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
		ck_assert_msg(!sender_has_route(conf, without[i]), "%s has a route", without[i]);
}
END_TEST

static void override(const char *service, const char *program, const char *option, const char *value)
{
	char *key = mem_printf("%s/command", service), *name = mem_printf("%s/%s", service, option);
	json_object_set_new(look.services, service, json_string("x"));
	json_object_set_new(look.fields, key, json_string(program));
	json_object_set_new(look.overrides, name, json_string(value));
	free(name);
	free(key);
}

START_TEST(options_of_services_may_undo_it)
{
	load(RELAYS "route \"in\" { relays = { \"a\" }\n users = { \"*\" } }\nroute \"all\" { relays = { \"b\" } }\n");
	set("default_transport", "relaypool:x");
	set("mua_milters", "inet:a:1, " MILTER);
	override("a/inet", "smtpd", "smtpd_milters", "");
	override("b/inet", "smtpd", "smtpd_milters", "$smtpd_milters, inet:b:2");
	override("c/inet", "smtpd", "smtpd_milters", "inet:b:2 ${smtpd_milters}");
	override("d/inet", "smtpd", "smtpd_milters", "$mua_milters");
	override("e/unix", "cleanup", "non_smtpd_milters", "");
	override("f/unix", "pickup", "content_filter", "smtp:[x]");
	override("g/unix", "trivial-rewrite", "default_transport", "smtp");
	check(check_services);
	ck_assert_str_eq(state_of("a/inet/smtpd_milters"), "wrong");
	ck_assert_str_eq(state_of("b/inet/smtpd_milters"), "wrong");
	ck_assert_str_eq(state_of("c/inet/smtpd_milters"), "");
	ck_assert_str_eq(state_of("d/inet/smtpd_milters"), "");
	ck_assert_str_eq(state_of("e/unix/non_smtpd_milters"), "wrong");
	ck_assert_str_eq(state_of("f/unix/content_filter"), "wrong");
	ck_assert_str_eq(state_of("g/unix/default_transport"), "wrong");
	set("non_smtpd_milters", "${smtpd_milters}, inet:b:2");
	check(check_settings);
	ck_assert_str_eq(state_of("non_smtpd_milters"), "wrong");
	set("non_smtpd_milters", "inet:b:2, $smtpd_milters");
	check(check_settings);
	ck_assert_str_eq(state_of("non_smtpd_milters"), "");
	report_free(&report);
}
END_TEST

START_TEST(files_have_to_be_fit_for_postconf)
{
	char place[] = "/tmp/check_plan.XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(place));
	free(look.directory);
	look.directory = mem_strdup(place);
	char *main_cf = mem_printf("%s/main.cf", place), *master_cf = mem_printf("%s/master.cf", place);
	FILE *file = fopen(main_cf, "w");
	ck_assert_ptr_nonnull(file);
	fputs("a = b", file);
	fflush(file);
	ck_assert_int_eq(symlink("main.cf", master_cf), 0);
	check(check_settings);
	ck_assert_str_eq(state_of(main_cf), "wrong");
	ck_assert_str_eq(state_of(master_cf), "wrong");
	ck_assert_uint_eq(report.stops, 2);
	fputs("\n", file);
	fclose(file);
	unlink(master_cf);
	check(check_settings);
	ck_assert_uint_eq(report.stops, 0);
	unlink(main_cf);
	rmdir(place);
	free(main_cf);
	free(master_cf);
	report_free(&report);
}
END_TEST

START_TEST(filters_stand_in_tables_of_every_kind)
{
	static const char *const filters[] = {"static:FILTER smtp:[x]",
					      "proxy:inline:{ { a@b.example = FILTER smtp:[x] } }"};
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
		ck_assert_msg(map_has_word(filters[i], "FILTER"), "%s", filters[i]);
	ck_assert(!map_has_word("inline:{ { FILTERED@b.example = OK } }", "FILTER "));
	ck_assert(!map_has_word("reject_unlisted_sender", "FILTER"));
}
END_TEST

START_TEST(passwords_are_not_shown)
{
	set("smtp_sasl_password_maps", "static:user:pw");
	check(check_settings);
	char *text = json_dumps(report.findings, 0);
	ck_assert_str_eq(state_of("smtp_sasl_password_maps"), "note");
	ck_assert_ptr_null(strstr(text, "user:pw"));
	free(text);
	report_free(&report);
}
END_TEST

/* ---- the way back ---- */

static struct store store;

/* What became of a parameter that was `was` and was made `wrote`, if it is `present` now. */
static void assert_back(const char *was, const char *wrote, const char *part, const char *present, const char *expected)
{
	char *shall = NULL;
	bool nothing;
	json_t *parts = part ? json_pack("[s, s]", "not this one", part) : NULL;
	const struct made made = {ITEM_PARAMETER, "p", was, wrote, "earlier", parts};
	json_object_del(look.set, "p");
	if (present)
		set("p", present);
	bool back = memory_back(&made, &look, &shall, &nothing);
	ck_assert_str_eq(back ? (shall ? shall : "(goes)") : nothing ? "(nothing)" : "(kept)", expected);
	free(shall);
	json_decref(parts);
}

START_TEST(only_what_is_ours_goes_back)
{
	assert_back(NULL, "x", NULL, "x", "(goes)");
	assert_back("old", "x", NULL, "x", "old");
	assert_back("old", "x", NULL, "other", "(kept)");
	assert_back("old", "x", NULL, NULL, "(kept)");
	assert_back("old", "x", NULL, "old", "(nothing)");
	assert_back(NULL, "x", NULL, NULL, "(nothing)");
	assert_back("old", "x", NULL, "earlier", "old");
	assert_back("a", "a, x", "x", "a, x", "a");
	assert_back("a", "a, x", "x", "b, x, c", "b, c");
	assert_back("a", "a, x", "x", "b", "(nothing)");
	assert_back("a", "a, x", "x", NULL, "(nothing)");
	assert_back(NULL, "x", "x", "x, b", "b");
	assert_back(NULL, "y, x", "x", "x", "(goes)");
}
END_TEST

START_TEST(what_was_first_is_remembered)
{
	struct made made;
	struct item item = {.kind = ITEM_PARAMETER, .name = (char *)"p", .was = (char *)"old", .shall = (char *)"one"};
	memory_begin(&store, "/etc/postfix", &plan);
	memory_add(&store, &item);
	item.was = (char *)"one", item.shall = (char *)"two";
	memory_add(&store, &item);
	ck_assert(memory_next(&store, 0, &made));
	ck_assert_str_eq(made.was, "old");
	ck_assert_str_eq(made.wrote, "two");
	item.was = (char *)"by hand", item.shall = (char *)"three";
	memory_add(&store, &item);
	ck_assert(memory_next(&store, 0, &made));
	ck_assert_str_eq(made.was, "by hand");
	ck_assert(!memory_next(&store, 1, &made));
	json_decref(store.state);
	store.state = NULL;
}
END_TEST

/* Registers; somebody else puts an element of his behind; registers again, with the milter elsewhere. */
START_TEST(a_list_keeps_what_was_first_less_what_is_ours)
{
	struct made made;
	char *shall;
	bool nothing;
	set("smtpd_milters", "inet:a:1");
	make(NULL, 0);
	memory_begin(&store, "/etc/postfix", &plan);
	memory_add(&store, item_of("smtpd_milters"));
	set("smtpd_milters", "inet:a:1, " MILTER ", inet:b:2");
	load("milter = \"inet:2425@127.0.0.1\"\n" RELAYS);
	make(NULL, 0);
	memory_take_out(&store, &plan);
	const struct item *moved = item_of("smtpd_milters");
	ck_assert(strncmp(moved->shall, "inet:a:1, inet:b:2, { inet:127.0.0.1:2425, ", 43) == 0);
	memory_add(&store, moved);
	ck_assert(memory_next(&store, 0, &made));
	/* Killed before the change, and after it: the same comes back. */
	for (int after = 0; after < 2; after++) {
		if (after)
			set("smtpd_milters", moved->shall);
		ck_assert(memory_back(&made, &look, &shall, &nothing));
		ck_assert_str_eq(shall, "inet:a:1, inet:b:2");
		free(shall);
	}
	json_decref(store.state);
	store.state = NULL;
}
END_TEST

START_TEST(what_is_not_wanted_any_more_is_given_back)
{
	char *domains[] = {(char *)"one.example"};
	make(domains, 1);
	memory_begin(&store, "/etc/postfix", &plan);
	memory_add(&store, item_of("transport_maps"));
	set("transport_maps", item_of("transport_maps")->shall);
	make(NULL, 0);
	memory_give_back(&store, &look, &plan);
	const struct item *last = &plan.items[plan.count - 1];
	ck_assert_str_eq(last->name, "transport_maps");
	ck_assert(!last->shall && !last->right);
	json_decref(store.state);
	store.state = NULL;
}
END_TEST

Suite *plan_suite(void)
{
	Suite *suite = suite_create("plan");
	TCase *tests = tcase_create("wanted");
	tcase_add_checked_fixture(tests, begin, end);
	tcase_add_test(tests, a_bare_postfix_gets_all_of_it);
	tcase_add_test(tests, sockets_are_spelt_as_postfix_wants_them);
	tcase_add_test(tests, what_is_there_stays_beside_ours);
	tcase_add_test(tests, ours_is_known_in_every_spelling);
	tcase_add_test(tests, domains_have_transport_maps);
	tcase_add_test(tests, the_direct_way_has_its_services);
	tcase_add_test(tests, an_entry_of_ours_keeps_what_was_added);
	tcase_add_test(tests, times_are_read_as_postfix_does);
	tcase_add_test(tests, a_server_at_our_port_is_left_alone);
	tcase_add_test(tests, a_sender_keeps_his_account_by_a_route_for_all_his_mail);
	tcase_add_test(tests, options_of_services_may_undo_it);
	tcase_add_test(tests, files_have_to_be_fit_for_postconf);
	tcase_add_test(tests, filters_stand_in_tables_of_every_kind);
	tcase_add_test(tests, passwords_are_not_shown);
	tcase_add_test(tests, only_what_is_ours_goes_back);
	tcase_add_test(tests, what_was_first_is_remembered);
	tcase_add_test(tests, a_list_keeps_what_was_first_less_what_is_ours);
	tcase_add_test(tests, what_is_not_wanted_any_more_is_given_back);
	suite_add_tcase(suite, tests);
	return suite;
}
