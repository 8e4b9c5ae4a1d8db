/*
 * Runs one fuzz target over files, or over all files of directories, where libFuzzer is not at hand. Without
 * arguments, as `make check` calls it: over tests/fuzz/corpus/TARGET, for the program replay_TARGET.
 */
#include <dirent.h>
#include <err.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned replayed;

static void replay_file(const char *path, size_t size)
{
	/* Of exactly the size, so that the sanitizer sees each octet read beyond it. */
	uint8_t *data = malloc(size > 0 ? size : 1);
	FILE *file = fopen(path, "rb");

	if (data == NULL || file == NULL || fread(data, 1, size, file) != size)
		err(1, "%s", path);
	fclose(file);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	replayed++;
}

static void replay(const char *path)
{
	struct dirent *entry;
	struct stat status;
	DIR *directory;

	if (stat(path, &status) == -1)
		err(1, "%s", path);
	if (!S_ISDIR(status.st_mode)) {
		replay_file(path, (size_t)status.st_size);
		return;
	}
	directory = opendir(path);
	if (directory == NULL)
		err(1, "%s", path);
	while ((entry = readdir(directory)) != NULL) {
		char below[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		replay(below);
	}
	closedir(directory);
}

int main(int count, char **arguments)
{
	const char *target = strrchr(arguments[0], '_'), *srcdir = getenv("srcdir");
	char path[PATH_MAX];

	for (int i = 1; i < count; i++)
		replay(arguments[i]);
	if (count == 1) {
		snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", srcdir != NULL ? srcdir : ".",
			 target != NULL ? target + 1 : "");
		replay(path);
	}
	printf("%u inputs\n", replayed);
	return replayed > 0 ? 0 : 1;
}
