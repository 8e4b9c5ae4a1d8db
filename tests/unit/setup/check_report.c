/* setup/report.h: what was found, as JSON, and whether all is well. */
#include <string.h>

#include "check_setup.h"
#include "setup/report.h"

static const char *text_of(const json_t *answer, size_t finding, const char *key)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(answer, "findings"), finding), key));
}

START_TEST(findings_become_json)
{
	struct report report;
	report_init(&report);
	report_add(&report, &(struct finding){.state = FINDING_DIFFERS,
					      .where = "main.cf",
					      .name = "default_transport",
					      .is = "smtp",
					      .shall = "relaypool:unix:x",
					      .why = "Because.",
					      .stops = true});
	report_note(&report, "main.cf", "relayhost", "it is %s", "[a]:25");
	report_close(&report, "%d change.", 1);
	json_t *answer = report_json(&report, "postfix");
	ck_assert_int_eq(json_integer_value(json_object_get(answer, "schema")), 1);
	ck_assert_str_eq(json_string_value(json_object_get(answer, "summary")), "1 change.");
	ck_assert(json_is_false(json_object_get(answer, "clean")));
	ck_assert_str_eq(text_of(answer, 0, "state"), "differs");
	ck_assert_str_eq(text_of(answer, 0, "is"), "smtp");
	ck_assert_str_eq(text_of(answer, 1, "why"), "it is [a]:25");
	ck_assert_ptr_null(text_of(answer, 1, "is"));
	ck_assert_uint_eq(report.stops, 1);
	ck_assert(json_is_null(json_object_get(answer, "error")));
	json_decref(answer);
	report_free(&report);
}
END_TEST

START_TEST(notes_and_changes_are_clean)
{
	struct report report;
	report_init(&report);
	for (int state = 0; state < FINDING_STATES; state++) {
		bool clean = state == FINDING_OK || state == FINDING_NOTE || state == FINDING_CHANGED ||
			     state == FINDING_RESTORED;
		report_free(&report);
		report_init(&report);
		report_add(&report, &(struct finding){.state = (enum finding_state)state, .where = "a", .name = "b"});
		ck_assert_msg(report_clean(&report) == clean, "%s", finding_state_names[state]);
	}
	report_free(&report);
}
END_TEST

START_TEST(what_could_not_be_done_is_not_clean)
{
	struct report report;
	report_init(&report);
	report_fail(&report, "there is nothing to undo");
	json_t *answer = report_json(&report, "postfix");
	ck_assert(json_is_false(json_object_get(answer, "clean")));
	ck_assert_str_eq(json_string_value(json_object_get(answer, "error")), "there is nothing to undo");
	json_decref(answer);
	report_free(&report);
}
END_TEST

START_TEST(what_is_not_utf8_is_shown_all_the_same)
{
	struct report report;
	report_init(&report);
	report_add(&report, &(struct finding){.where = "main.cf", .name = "banner", .is = "caf\xe9!"});
	json_t *answer = report_json(&report, "postfix");
	ck_assert_str_eq(text_of(answer, 0, "is"), "caf?!");
	json_decref(answer);
	report_free(&report);
}
END_TEST

Suite *report_suite(void)
{
	Suite *suite = suite_create("report");
	TCase *tests = tcase_create("findings");
	tcase_add_test(tests, findings_become_json);
	tcase_add_test(tests, notes_and_changes_are_clean);
	tcase_add_test(tests, what_could_not_be_done_is_not_clean);
	tcase_add_test(tests, what_is_not_utf8_is_shown_all_the_same);
	suite_add_tcase(suite, tests);
	return suite;
}
