// Steps of a loop: which rows they have, and what is kept between them.

struct Step {
    int64_t t, first, before, count, now, next, origin;
};

// The step t, the k-th to be run, in a block whose rows begin at `origin`; `counts` says how many sequences have it, unless all have.
INLINE Step step_at(int64_t t, int64_t k, int64_t batch, const int64_t *counts, int64_t steps,
                    int64_t origin) {
    // behind the counts stand the first rows of the steps
    const int64_t *firsts = counts + steps;
    if (!counts)
        return {t, t * batch, (t - 1) * batch, batch, k & 1, (k + 1) & 1, origin};
    return {t, firsts[t], t ? firsts[t - 1] : 0, counts[t], k & 1, (k + 1) & 1, origin};
}

INLINE int64_t rounded(int64_t count) { return (count + 15) / 16 * 16; }

static inline real *reserved(int64_t count) {
    void *found = 0;
    return posix_memalign(&found, 64, (count + 16) * sizeof(real)) ? 0 : (real *)found;
}

// A state where each sequence begins; sequences that have not begun find it in both places.
static inline void begin(real *const state[2], const real *from, int64_t count) {
    memcpy(state[0], from, count * sizeof(real));
    memcpy(state[1], from, count * sizeof(real));
}

// The state of each sequence after its own last step.
template <bool BACKWARD>
static void finish(real *const state[2], real *to, int64_t size, int64_t batch,
                   const int64_t *counts, int64_t steps) {
    for (int64_t r = 0, length = steps; r < batch; r++) {
        while (!BACKWARD && counts && length && counts[length - 1] <= r)
            length--;
        memcpy(to + r * size, state[length & 1] + r * size, size * sizeof(real));
    }
}

// The height of tiles that are at most so high and differ little.
INLINE int64_t even(int64_t count, int64_t most) {
    int64_t tiles = (count + most - 1) / most;
    return tiles ? (count + tiles - 1) / tiles : 1;
}

// Places from the first to the last in one step and back in the next, so that the weights read
// last, which are in the nearest cache, are read first.
INLINE int64_t to_and_fro(const Step &s, Range lanes, int64_t turn, int64_t width) {
    if (s.now)
        return turn;
    const int64_t behind = (lanes.end - lanes.begin - 1) / width * width;
    return lanes.begin + behind - (turn - lanes.begin);
}

// The most rows of a block of steps, whose products are computed at once.
INLINE int64_t most_block(int64_t batch) { return batch > 96 ? batch : 96; }

// The first step behind a block that begins with the step `begin`, of those to be run, and the
// block's rows.
INLINE int64_t block_from(int64_t begin, int64_t batch, const int64_t *counts, int64_t steps,
                          bool backward, int64_t *origin, int64_t *count) {
    int64_t end = begin, rows = 0;
    for (; end < steps; end++) {
        const int64_t more = counts ? counts[backward ? steps - 1 - end : end] : batch;
        if (rows + more > most_block(batch))
            break;
        rows += more;
    }
    const int64_t first = backward ? steps - end : begin;
    *origin = counts ? counts[steps + first] : first * batch;
    *count = rows;
    return end;
}
