/* A price-time order book in plain C: what the matching algorithm costs on this machine without Python.
 *
 * It reads the messages and writes the trades of the package (types.MESSAGE, types.TRADE: six and eight int64 columns), for
 * LIMIT, CANCEL and MARKET. Orders and price levels are nodes of one pool; a level is the sentinel of a circular doubly linked
 * list, so that joining and leaving a queue are four stores without a branch; the outermost levels count as occupied, so that
 * the walk to the next best level needs no bound. `slot[id]` finds a resting order (0: not resting). Nothing is checked: prices
 * lie in lowest .. lowest + levels - 1, ids in 0 .. ids - 1, and the pool is large enough.
 *
 * gcc -O3 -march=native -shared -fPIC -o book_reference.so book_reference.c
 */
#include <stdint.h>
#include <string.h>

enum { LIMIT, CANCEL, MARKET };
typedef struct { int32_t next, prev, qty, id, level, owner; } Node;
typedef struct { int64_t kind, side, price, qty, id, owner; } Message;
typedef struct { int64_t maker, taker, price, qty, message, maker_owner, taker_owner, taker_side; } Trade;

/* An empty book in `memory`: 4 * ids + 24 * (2 * (levels + 2) + orders + 1) bytes.
 * Nodes: the levels of the bids, the levels of the asks, the free orders, chained by `next`. */
void book_init(void *memory, int64_t levels, int64_t orders, int64_t ids) {
    int32_t span = (int32_t)levels + 2, last = 2 * span + (int32_t)orders;
    Node *node = (Node *)((int32_t *)memory + ids);
    memset(memory, 0, ids * sizeof(int32_t));
    for (int32_t i = 0; i < 2 * span; i++) node[i] = (Node){i, i, 0, 0, i, 0};
    for (int32_t i = 2 * span; i < last; i++) node[i].next = i + 1;
    node[0].next = node[2 * span - 1].next = -1;    /* the two walls: not equal to themselves */
}

/* One run over an empty book; returns the number of trades. */
int64_t book_run(void *memory, int64_t lowest, int64_t levels, int64_t ids, const Message *messages, int64_t n, Trade *trades) {
    int32_t span = (int32_t)levels + 2, low = (int32_t)lowest - 1, asks = span;
    int32_t *slot = memory;
    Node *node = (Node *)(slot + ids);
    int32_t bid = 0, ask = 2 * span - 1, unused = 2 * span;
    Trade *t = trades;

    for (int64_t k = 0; k < n; k++) {
        const Message *m = messages + k;
        int32_t id = (int32_t)m->id;
        if (m->kind == CANCEL) {
            int32_t i = slot[id];
            if (!i) continue;
            int32_t level = node[i].level;
            node[node[i].prev].next = node[i].next;
            node[node[i].next].prev = node[i].prev;
            slot[id] = 0;
            node[i].next = unused;
            unused = i;
            if (level == bid) while (node[bid].next == bid) bid--;
            else if (level == ask) while (node[ask].next == ask) ask++;
            continue;
        }
        int buys = m->side > 0;
        int32_t left = (int32_t)m->qty, at = (int32_t)m->price - low;
        int32_t limit = m->kind == MARKET ? (buys ? 2 * span - 2 : 1) : (buys ? asks : 0) + at;
        while (left > 0 && (buys ? ask <= limit : bid >= limit)) {
            int32_t level = buys ? ask : bid, i = node[level].next, has = node[i].qty, part = has < left ? has : left;
            *t++ = (Trade){node[i].id, id, low + level - (buys ? asks : 0), part, k, node[i].owner, m->owner, m->side};
            left -= part;
            if (part < has) { node[i].qty = has - part; break; }
            int32_t next = node[i].next;
            node[level].next = next;
            node[next].prev = level;
            slot[node[i].id] = 0;
            node[i].next = unused;
            unused = i;
            if (buys) while (node[ask].next == ask) ask++;
            else while (node[bid].next == bid) bid--;
        }
        if (left > 0 && m->kind == LIMIT) {
            int32_t i = unused, level = (buys ? 0 : asks) + at, last = node[level].prev;
            unused = node[i].next;
            node[i] = (Node){level, last, left, id, level, (int32_t)m->owner};
            node[last].next = node[level].prev = i;
            slot[id] = i;
            if (buys) { if (level > bid) bid = level; }
            else if (level < ask) ask = level;
        }
    }
    return t - trades;
}
