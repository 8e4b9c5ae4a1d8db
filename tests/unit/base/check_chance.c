/* Unit tests of base/chance. */
#include <config.h>

#include "base/chance.h"
#include "check_base.h"

START_TEST(it_takes_every_value_below_its_limit_and_no_other)
{
	unsigned seen[10] = {0};
	for (unsigned i = 0; i < 10000; i++) {
		uint32_t number = chance_below(10);
		ck_assert_uint_lt(number, 10);
		seen[number]++;
	}
	for (unsigned i = 0; i < 10; i++) /* 1000 each; the deviation is 30 */
		ck_assert_msg(seen[i] > 700 && seen[i] < 1300, "%u came %u times", i, seen[i]);
	ck_assert_uint_eq(chance_below(1), 0);
}
END_TEST

START_TEST(it_uses_all_bits)
{
	uint32_t ones = 0, zeros = 0;
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t number = chance();
		ones |= number;
		zeros |= ~number;
	}
	ck_assert_uint_eq(ones, UINT32_MAX);
	ck_assert_uint_eq(zeros, UINT32_MAX);
}
END_TEST

Suite *chance_suite(void)
{
	Suite *suite = suite_create("chance");
	TCase *tcase = tcase_create("chance");
	tcase_add_test(tcase, it_takes_every_value_below_its_limit_and_no_other);
	tcase_add_test(tcase, it_uses_all_bits);
	suite_add_tcase(suite, tcase);
	return suite;
}
