/*
 * Intrusive doubly linked lists. State is membership of a list, so every object here is on exactly one list or on
 * none; counts are computed. Used everywhere; never allocates.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

/* The object that holds `node` as its member `member`. */
#define LIST_ENTRY_OF(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Visits each node; the visited node may be removed meanwhile, others may not. */
#define LIST_EACH(node, next_node, head)                                                             \
	for (struct list *node = (head)->next, *next_node = node->next; node != (head); /* NOLINT */ \
	     node = next_node, next_node = node->next)

/* Makes a head empty, or a node a member of no list. */
static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

/* Takes a node from whatever list it is on; harmless if it is on none. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* Puts a node that is on no list at the end. */
static inline void list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Puts a node that is on no list at the front. */
static inline void list_prepend(struct list *head, struct list *node)
{
	list_append(head->next, node);
}

static inline size_t list_count(const struct list *head)
{
	size_t count = 0;
	for (const struct list *node = head->next; node != head; node = node->next)
		count++;
	return count;
}

#endif
