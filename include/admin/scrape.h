/*
 * The metrics over HTTP, for Prometheus: GET and HEAD of /metrics on a loopback address, one request on a connection.
 * A scraper has one span of time for all of it and is cut then, whatever it does meanwhile; none ever waits for
 * another, and mail waits for none. However often it is asked for, the text is made once a second. Loop thread only;
 * called by main.
 */
#ifndef ADMIN_SCRAPE_H
#define ADMIN_SCRAPE_H

#include "admin/control.h"
#include "base/net.h"

#define SCRAPE_CLIENTS_MAX 8                /* at once; further ones get 503 */
#define SCRAPE_HEAD_MAX 8192                /* octets of a request line and its headers */
#define SCRAPE_BODY_MAX 65536               /* octets behind them that are thrown away */
#define SCRAPE_PATIENCE (10 * USEC_PER_SEC) /* from accept(2) to close(2) */
#define SCRAPE_KEPT USEC_PER_SEC            /* who asks so soon after another gets the same text */

struct scrape;

/* Nothing listens yet. The doors are borrowed and outlive it. */
struct scrape *scrape_create(const struct control_doors *doors);
/* Closes the socket and cuts every scraper. NULL is allowed. */
void scrape_free(struct scrape *scrape);

/*
 * A new snapshot, in two steps, so that a reload changes all sockets or none: the first opens what `metrics` names, if
 * it is new, and serves nobody on it yet. False with one sentence in `error` if it cannot be had. After either,
 * scrape_settle(): with `taken` the new socket serves and an old one that has no use any more is closed, else the new
 * one is closed and the old one goes on.
 */
bool scrape_prepare(struct scrape *scrape, const struct conf *conf, char error[NET_ERROR_SIZE]) MUST_CHECK;
void scrape_settle(struct scrape *scrape, bool taken);

#endif
