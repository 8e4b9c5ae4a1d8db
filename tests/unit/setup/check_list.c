/* Lists of main.cf: ours in, ours out, the rest as it was. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check_setup.h"
#include "postfix/postfix.h"

/* The elements with '|' behind each. */
static void assert_elements(const char *list, const char *expected)
{
	char *found = mem_strdup("");
	const char *element;
	size_t length;
	while (list_next(&list, &element, &length)) {
		char *more = mem_printf("%s%.*s|", found, (int)length, element);
		free(found);
		found = more;
	}
	ck_assert_str_eq(found, expected);
	free(found);
}

static void assert_text(char *text, const char *expected)
{
	ck_assert_str_eq(text, expected);
	free(text);
}

static bool is_text(const char *element, const void *text)
{
	return strcmp(element, text) == 0;
}

START_TEST(elements_are_as_postfix_reads_them)
{
	assert_elements("", "");
	assert_elements(" ,\t", "");
	assert_elements("inet:a:1, unix:b", "inet:a:1|unix:b|");
	assert_elements("inet:a:1 unix:b,,c", "inet:a:1|unix:b|c|");
	assert_elements("{ unix:a, default_action=accept }, b", "{ unix:a, default_action=accept }|b|");
	assert_elements("inline:{ { a.test = smtp:b }, { c = d } } hash:/x",
			"inline:{ { a.test = smtp:b }, { c = d } }|hash:/x|");
	assert_elements("{ open, never closed", "{ open, never closed|");
	assert_elements("a } b", "a|}|b|");
}
END_TEST

START_TEST(ours_goes_in_and_comes_out)
{
	static const char *const lists[] = {
		"", "inet:a:1", "inet:a:1,  inet:b:2", "inet:a:1 inet:b:2", "{ a, b }, c", "inet:a:1,"};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		char *last = list_with_last(lists[i], "{ unix:x, y=z }");
		assert_text(list_without(last, is_text, "{ unix:x, y=z }"), i == 5 ? "inet:a:1" : lists[i]);
		free(last);
		char *first = list_with_first(lists[i], "{ unix:x, y=z }");
		assert_text(list_without(first, is_text, "{ unix:x, y=z }"), lists[i]);
		free(first);
	}
}
END_TEST

START_TEST(ours_comes_out_of_the_middle_and_more_than_once)
{
	assert_text(list_without("a, x, b", is_text, "x"), "a, b");
	assert_text(list_without("x, a, x,b  x", is_text, "x"), "a,b");
	assert_text(list_without("x x", is_text, "x"), "");
	assert_text(list_without("xx, { x }", is_text, "x"), "xx, { x }");
}
END_TEST

Suite *list_suite(void)
{
	Suite *suite = suite_create("list");
	TCase *tests = tcase_create("lists");
	tcase_add_test(tests, elements_are_as_postfix_reads_them);
	tcase_add_test(tests, ours_goes_in_and_comes_out);
	tcase_add_test(tests, ours_comes_out_of_the_middle_and_more_than_once);
	suite_add_tcase(suite, tests);
	return suite;
}
