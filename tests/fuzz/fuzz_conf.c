/*
 * relaypool.conf, and the preset of a provider: any text is either refused with one line that names the file, or gives
 * a configuration in which every promise of base/conf.h holds and which can be shown.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/conf.h"
#include "fuzz.h"

static void require_printable(const char *text)
{
	for (; *text != '\0'; text++)
		REQUIRE((unsigned char)*text >= ' ' && *text != 0x7f);
}

static void require_line(const char *key, const char *value, void *arg)
{
	REQUIRE(key[0] != '\0');
	require_printable(key);
	require_printable(value);
	(*(unsigned *)arg)++;
}

static void require_relay(const struct conf *conf, const struct relay_conf *relay)
{
	REQUIRE(relay->conf == conf && conf_relay(conf, relay->name) == relay && strlen(relay->name) <= 64);
	REQUIRE(relay->host_count > 0 && relay->account != NULL);
	for (size_t i = 0; i < relay->host_count; i++)
		REQUIRE(relay->hosts[i].port > 0 && relay->hosts[i].host[0] != '\0');
	REQUIRE(relay->max_connections >= 1 && relay->min_connections <= relay->max_connections);
	for (int stage = STAGE_CONNECT; stage < STAGE_COUNT; stage++)
		REQUIRE(relay->timeouts[stage] > 0);
	REQUIRE(relay->username != NULL || (relay->password == NULL && relay->token_file == NULL));
	REQUIRE(relay->username == NULL || relay->tls != TLS_NONE || relay->allow_cleartext_auth);
	REQUIRE(relay->token_file == NULL || relay->token_command == NULL);
}

static void require_route(const struct conf *conf, const struct route_conf *route)
{
	REQUIRE(route->relay_count > 0 && route->relay_count <= conf->relay_count);
	for (size_t i = 0; i < route->relay_count; i++)
		REQUIRE(conf_relay(conf, route->relays[i]->name) == route->relays[i]);
	REQUIRE(!route_conf_needs_tag(route) || !route_conf_unconditional(route));
	REQUIRE(route->header_count == 0 || conf->wants_headers);
	(void)conf_address_matches(route->senders, route->sender_count, "a@example.org");
}

static void require_sound(const struct conf *conf)
{
	unsigned lines = 0;
	REQUIRE(conf->relay_count > 0 && conf->route_count > 0 && conf->route_count <= CONF_ROUTES_MAX);
	REQUIRE(conf->lmtp_count > 0 && conf->allow_user_count > 0 && conf->hostname[0] != '\0');
	REQUIRE(conf->deadline > conf->reply_reserve && conf->memory_limit >= 1 << 20);
	REQUIRE(conf->has_smtp == (conf->failover == FAILOVER_DIRECT));
	for (size_t i = 0; i < conf->relay_count; i++)
		require_relay(conf, &conf->relays[i]);
	for (size_t i = 0; i < conf->route_count; i++)
		require_route(conf, &conf->routes[i]);
	conf_show(conf, require_line, &lines);
	REQUIRE(lines > 0);
}

/* A file of this text; the caller closes it. */
static int make_file(const void *text, size_t size, char path[32])
{
	int fd = memfd_create("conf", MFD_CLOEXEC);
	REQUIRE(fd != -1 && write(fd, text, size) == (ssize_t)size);
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

static void load(const char *path)
{
	char error[CONF_ERROR_SIZE] = "";
	struct conf *conf = conf_load(path, error);
	if (conf != NULL) {
		require_sound(conf);
	} else {
		REQUIRE(strstr(error, path) != NULL);
		require_printable(error);
	}
	conf_unref(&conf);
}

/* The text as a preset: refused with a line that names it, or one that a section can name. */
static void load_as_preset(const char *preset)
{
	char text[128], path[32], error[CONF_ERROR_SIZE] = "";
	unsigned lines = 0;
	snprintf(text, sizeof(text), "relay a {\n host = b\n provider = \"%s\"\n}\n", preset);
	int fd = make_file(text, strlen(text), path);
	load(path);
	if (!conf_preset_show(preset, require_line, &lines, error))
		REQUIRE(strstr(error, preset) != NULL);
	require_printable(error);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[32];
	int fd = make_file(data, size, path);
	load(path);
	load_as_preset(path);
	close(fd);
	return 0;
}
