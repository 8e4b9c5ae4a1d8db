/*
 * The metrics: what the rooms count, as Prometheus's text format 0.0.4 has it. Made only when somebody asks: by the
 * verb `metrics` and by scrape.c. Every name is in relaypoolctl(8). Loop thread only.
 */
#ifndef ADMIN_METRICS_H
#define ADMIN_METRICS_H

#include "admin/control.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The whole text, and its length without the final 0. Never NULL; the caller's. */
char *metrics_text(const struct control_doors *doors, size_t *length);

#endif
