/*
 * The tag's value, forged in every way, and its key file.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "check_smtp.h"
#include "smtp/tag.h"

/* Octets 0 to 31. */
static struct tag_key test_key(void)
{
	struct tag_key key;

	for (int i = 0; i < TAG_KEY_SIZE; i++)
		key.octets[i] = (unsigned char)i;
	return key;
}

/* The MACs here were computed by other means than tag.c. */
#define KNOWN "v=1; q=4fXyZ1; t=1700000000000000; r=default,bulk; m=6DOnUQ/oH1BjFVveQAcdCA=="

static bool parse(const char *value, struct tag *tag)
{
	struct tag_key key = test_key();

	return tag_parse(value, strlen(value), &key, tag);
}

START_TEST(the_value_is_as_documented)
{
	struct tag tag = {"4fXyZ1", 1700000000000000, "default,bulk"}, again;
	struct tag_key key = test_key();
	char value[TAG_VALUE_MAX];

	ck_assert(tag_format(&tag, &key, value));
	ck_assert_str_eq(value, KNOWN);
	ck_assert(parse(value, &again));
	ck_assert_str_eq(again.queue_id, tag.queue_id);
	ck_assert_int_eq(again.time, tag.time);
	ck_assert_str_eq(again.routes, tag.routes);
}
END_TEST

START_TEST(no_route_may_hold)
{
	struct tag tag = {"4fXyZ1", 1700000000000000, ""}, again;
	struct tag_key key = test_key();
	char value[TAG_VALUE_MAX];

	ck_assert(tag_format(&tag, &key, value));
	ck_assert_str_eq(value, "v=1; q=4fXyZ1; t=1700000000000000; r=; m=u1/8dyin0eccZyhQP4yBzQ==");
	ck_assert(parse(value, &again));
	ck_assert_str_eq(again.routes, "");
}
END_TEST

START_TEST(what_cannot_be_said_unambiguously_is_not_written)
{
	static const struct tag tags[] = {
		{"", 1, "a"},      {"a;b", 1, "a"},    {"a b", 1, "a"},  {"a,b", 1, "a"},  {"a", -1, "a"},
		{"a", 1, ","},     {"a", 1, "a,"},     {"a", 1, ",a"},   {"a", 1, "a,,b"}, {"a", 1, "a b"},
		{"a", 1, "a; m="}, {"a", 1, "a\r\nb"}, {"a", 1, "\xc3"},
	};
	struct tag_key key = test_key();
	char value[TAG_VALUE_MAX];

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		ck_assert_msg(!tag_format(&tags[i], &key, value), "tag %zu was written", i);
}
END_TEST

START_TEST(the_largest_tag_fits)
{
	struct tag tag = {.time = INT64_MAX}, again;
	struct tag_key key = test_key();
	char value[TAG_VALUE_MAX];

	memset(tag.queue_id, 'q', sizeof(tag.queue_id) - 1);
	memset(tag.routes, 'r', sizeof(tag.routes) - 1);
	ck_assert(tag_format(&tag, &key, value));
	ck_assert(parse(value, &again));
	ck_assert_str_eq(again.queue_id, tag.queue_id);
	ck_assert_str_eq(again.routes, tag.routes);
	ck_assert_int_eq(again.time, tag.time);
}
END_TEST

START_TEST(folding_does_no_harm)
{
	static const char *const folded[] = {
		" " KNOWN,
		KNOWN "\r\n",
		"v=1;\r\n\tq=4fXyZ1;\r\n t=1700000000000000; r=default,\r\n bulk;\r\n\tm=6DOnUQ/oH1BjFVveQAcdCA==\r\n",
		"v=1;q=4fXyZ1;t=1700000000000000;r=default,bulk;m=6DOnUQ/oH1BjFVveQAcdCA==",
	};
	struct tag tag;

	for (size_t i = 0; i < sizeof(folded) / sizeof(folded[0]); i++) {
		ck_assert(parse(folded[i], &tag));
		ck_assert_str_eq(tag.queue_id, "4fXyZ1");
		ck_assert_str_eq(tag.routes, "default,bulk");
	}
}
END_TEST

START_TEST(every_change_of_an_octet_is_found)
{
	char value[] = KNOWN;
	struct tag tag;

	for (size_t at = 0; at < strlen(KNOWN); at++)
		for (int octet = 1; octet < 256; octet++) {
			bool blank = strchr(" \t\r\n", octet) != NULL;

			value[at] = (char)octet;
			/* A changed space is folding, and nothing else is. */
			if (octet != (unsigned char)KNOWN[at] && !(blank && KNOWN[at] == ' ') && parse(value, &tag))
				ck_abort_msg("%s was taken", value);
			value[at] = KNOWN[at];
		}
}
END_TEST

START_TEST(every_part_of_a_tag_is_refused)
{
	struct tag_key key = test_key();
	struct tag tag;

	for (size_t length = 0; length < strlen(KNOWN); length++) {
		ck_assert(!tag_parse(KNOWN, length, &key, &tag));
		ck_assert(!tag_parse(&KNOWN[length + 1], strlen(KNOWN) - length - 1, &key, &tag));
	}
	ck_assert(!parse(KNOWN "A", &tag));
	ck_assert(!parse(KNOWN "; m=6DOnUQ/oH1BjFVveQAcdCA==", &tag));
	ck_assert(!tag_parse(KNOWN "\0", strlen(KNOWN) + 1, &key, &tag));
}
END_TEST

START_TEST(another_key_makes_another_mac)
{
	struct tag_key key = test_key();
	struct tag tag;

	key.octets[TAG_KEY_SIZE - 1] ^= 1;
	ck_assert(!tag_parse(KNOWN, strlen(KNOWN), &key, &tag));
}
END_TEST

/* The MAC is right, the form is not: nothing that tag_format() writes. */
START_TEST(a_right_mac_does_not_excuse_a_wrong_form)
{
	static const char *const values[] = {
		"v=2; q=4fXyZ1; t=1; r=a; m=acw+vuXInEsHKmD5V3n9TQ==",
		"v=1; q=a,b; t=1; r=a; m=lzc8EMVosgQhiWhvewUfag==",
		"v=1; q=; t=1; r=a; m=ni+JC3esoiUwrF8cDUTKaQ==",
		"v=1; q=a; t=01; r=a; m=GLK16c5piCPF8kTOMQ1F8A==",
		"v=1; q=a; t=-1; r=a; m=NxyNzMgTHNfQTuIBi0vGDQ==",
		"v=1; q=a; t=9223372036854775808; r=a; m=JUSEnZtrjhXQ9nVh7gM1qg==",
		"v=1; q=a; t=1; r=a,,b; m=yznzqbj/0CHsSiKX7FlYoA==",
		"v=1; q=a; t=1; r=a; r=b; m=kXwe8rEeMBtXnMNxxTWN9Q==",
		"v=1; t=1; q=a; r=a; m=0foIqPRB2gScyehmwUcS/g==",
		"v=1; q=a; t=1; m=2YgEK1fCbszPrTbGEGOiaA==",
		("v=1; q=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; t=1; r=a; "
		 "m=gguRlSEiHdM+5DAJMIOQZA=="),
	};
	struct tag tag;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		ck_assert_msg(!parse(values[i], &tag), "%s was taken", values[i]);
}
END_TEST

START_TEST(a_value_of_any_length_is_read_safely)
{
	struct tag_key key = test_key();
	struct tag tag;

	for (size_t length = 0; length < 2 * TAG_VALUE_MAX; length++) {
		char *value = mem_alloc(length + 1);

		memset(value, length % 2 ? ';' : 'v', length);
		ck_assert(!tag_parse(value, length, &key, &tag));
		free(value);
	}
}
END_TEST

/* ---- the key file ---- */

static char directory[] = "/tmp/check_tag.XXXXXX";
static char path[64];

static void make_directory(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/tag.key", directory);
}

static void remove_directory(void)
{
	unlink(path);
	rmdir(directory);
}

static void write_file(const char *data, size_t length, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(write(fd, data, length), length);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

START_TEST(a_key_is_made_once_and_then_read)
{
	struct tag_key first, second;
	struct stat status;
	char error[256];

	ck_assert_msg(tag_key_load(path, &first, error, sizeof(error)), "%s", error);
	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_int_eq(status.st_mode & 07777, 0600);
	ck_assert_int_eq(status.st_size, TAG_KEY_SIZE);
	ck_assert(tag_key_load(path, &second, error, sizeof(error)));
	ck_assert_int_eq(memcmp(&first, &second, sizeof(first)), 0);
	unlink(path);
	ck_assert(tag_key_load(path, &second, error, sizeof(error)));
	ck_assert_int_ne(memcmp(&first, &second, sizeof(first)), 0);
}
END_TEST

START_TEST(a_key_file_of_another_size_is_refused)
{
	static const char octets[TAG_KEY_SIZE + 1] = "";
	struct tag_key key;
	char error[256];

	for (size_t size = 0; size <= sizeof(octets); size++) {
		bool right = size == TAG_KEY_SIZE;

		write_file(octets, size, 0600);
		ck_assert_int_eq(tag_key_load(path, &key, error, sizeof(error)), right);
		if (!right) {
			ck_assert_ptr_nonnull(strstr(error, path));
			ck_assert_ptr_nonnull(strstr(error, "remove it"));
		}
	}
}
END_TEST

START_TEST(a_key_file_that_others_may_open_is_refused)
{
	static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644};
	static const char octets[TAG_KEY_SIZE] = "";
	struct tag_key key;
	char error[256];

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		write_file(octets, sizeof(octets), modes[i]);
		ck_assert(!tag_key_load(path, &key, error, sizeof(error)));
		ck_assert_ptr_nonnull(strstr(error, "open to others"));
	}
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
	char error[256];
	struct tag_key key;

	ck_assert(!tag_key_load(directory, &key, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "not a plain file"));
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert(!tag_key_load(path, &key, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "not a plain file"));
	ck_assert(!tag_key_load("/nonexistent/tag.key", &key, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "/nonexistent/tag.key cannot be made: No such file or directory"));
}
END_TEST

Suite *tag_suite(void)
{
	Suite *suite = suite_create("tag");
	TCase *value = tcase_create("value"), *file = tcase_create("key file");

	tcase_add_test(value, the_value_is_as_documented);
	tcase_add_test(value, no_route_may_hold);
	tcase_add_test(value, what_cannot_be_said_unambiguously_is_not_written);
	tcase_add_test(value, the_largest_tag_fits);
	tcase_add_test(value, folding_does_no_harm);
	tcase_add_test(value, every_change_of_an_octet_is_found);
	tcase_add_test(value, every_part_of_a_tag_is_refused);
	tcase_add_test(value, another_key_makes_another_mac);
	tcase_add_test(value, a_right_mac_does_not_excuse_a_wrong_form);
	tcase_add_test(value, a_value_of_any_length_is_read_safely);
	suite_add_tcase(suite, value);
	tcase_add_checked_fixture(file, make_directory, remove_directory);
	tcase_add_test(file, a_key_is_made_once_and_then_read);
	tcase_add_test(file, a_key_file_of_another_size_is_refused);
	tcase_add_test(file, a_key_file_that_others_may_open_is_refused);
	tcase_add_test(file, what_is_no_file_is_refused);
	suite_add_tcase(suite, file);
	return suite;
}
