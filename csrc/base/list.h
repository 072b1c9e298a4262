/* base/list.h - intrusive circular doubly linked list.
 *
 * A list head and a list node have one type.  A node that is in no list has
 * both pointers NULL, so "is it linked?" can be asked of the node itself and
 * an unlink is idempotent.
 *
 * Owns: nothing.   Threads: whoever owns the list.
 * Python code run here: none.
 */
#ifndef TAC_BASE_LIST_H
#define TAC_BASE_LIST_H

#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

struct tac_list {
    struct tac_list *next;
    struct tac_list *prev;
};

/* The struct of type `type` whose member `member` is at `node`. */
#define tac_list_entry(node, type, member) \
    ((type *)((char *)(node) - offsetof(type, member)))

static inline void
tac_list_init(struct tac_list *head)
{
    head->next = head->prev = head;
}

static inline bool
tac_list_is_empty(const struct tac_list *head)
{
    return head->next == head;
}

static inline bool
tac_list_is_linked(const struct tac_list *node)
{
    return node->next != NULL;
}

static inline void
tac_list_append(struct tac_list *head, struct tac_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void
tac_list_unlink(struct tac_list *node)
{
    if (node->next != NULL) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->next = node->prev = NULL;
    }
}

/* Move all of `from` to the front of `to`, in order; `from` is empty after. */
static inline void
tac_list_splice_front(struct tac_list *to, struct tac_list *from)
{
    if (tac_list_is_empty(from)) {
        return;
    }
    from->prev->next = to->next;
    to->next->prev = from->prev;
    to->next = from->next;
    from->next->prev = to;
    tac_list_init(from);
}

/* The first node, unlinked, or NULL. */
static inline struct tac_list *
tac_list_pop_front(struct tac_list *head)
{
    struct tac_list *node = head->next;
    if (node == head) {
        return NULL;
    }
    tac_list_unlink(node);
    return node;
}

/* The last node, unlinked, or NULL. */
static inline struct tac_list *
tac_list_pop_back(struct tac_list *head)
{
    struct tac_list *node = head->prev;
    if (node == head) {
        return NULL;
    }
    tac_list_unlink(node);
    return node;
}

#endif
