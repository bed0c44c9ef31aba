// Sequences as rows: padded ones of different lengths packed, and what runs over whole sequences.
//
// The rows of a step stand behind those of the step before. Within a step the sequences come in
// the order of their lengths, the longest first, so that those of a step are the first ones of
// the step before. Where all sequences are equally long, rows are in the caller's order.

// Memory that is given back all at once.
struct Piece {
    Piece *before;
};

struct Store {
    Piece *last;
};

// Room for so many bytes, at the beginning of a line of the cache; null where there is none.
static inline void *room(Store &store, int64_t bytes) {
    const int64_t line = 64;
    void *found = 0;
    if (posix_memalign(&found, line, bytes + 2 * line))
        return 0;
    Piece *piece = (Piece *)found;
    piece->before = store.last;
    store.last = piece;
    return (char *)found + line;
}

static inline real *numbers(Store &store, int64_t count) {
    return (real *)room(store, count * sizeof(real));
}

static inline int64_t *integers(Store &store, int64_t count) {
    return (int64_t *)room(store, count * sizeof(int64_t));
}

static inline void release(Store &store) {
    while (store.last) {
        Piece *piece = store.last;
        store.last = piece->before;
        free(piece);
    }
}

// The sequences along an axis. Where all are equally long, `counts`, `order` and `lengths` are
// null. Otherwise they are the rows of each step with the first rows of the steps behind them,
// which sequence is where, and the length of each that the caller gave.
struct Along {
    int64_t steps, batch, rows;
    const int64_t *counts, *order, *lengths;
};

INLINE int64_t rows_of(const Along &a, int64_t t) { return a.counts ? a.counts[t] : a.batch; }
INLINE int64_t first_of(const Along &a, int64_t t) {
    return a.counts ? a.counts[a.steps + t] : t * a.batch;
}
INLINE int64_t sequence_at(const Along &a, int64_t r) { return a.order ? a.order[r] : r; }
INLINE int64_t length_at(const Along &a, int64_t r) {
    return a.lengths ? a.lengths[a.order[r]] : a.steps;
}

// What a call says of an axis; whether its lengths lie between 1 and the number of steps.
static inline bool lengths_fit(int64_t steps, int64_t batch, const int64_t *lengths) {
    for (int64_t sequence = 0; lengths && sequence < batch; sequence++)
        if (lengths[sequence] < 1 || lengths[sequence] > steps)
            return false;
    return true;
}

// The sequences in the order of their lengths, those of one length as they come. False where
// there is no memory.
static inline bool arrange(Store &store, int64_t steps, int64_t batch, const int64_t *lengths,
                           Along *to) {
    *to = {steps, batch, steps * batch, 0, 0, 0};
    bool differ = false;
    for (int64_t sequence = 0; lengths && sequence < batch; sequence++)
        differ = differ || lengths[sequence] != steps;
    if (!differ)
        return true;
    int64_t *const counts = integers(store, 2 * steps), *const order = integers(store, batch);
    int64_t *const own = integers(store, batch);
    if (!counts || !order || !own)
        return false;
    memset(counts, 0, 2 * steps * sizeof(int64_t));
    for (int64_t sequence = 0; sequence < batch; sequence++)
        counts[lengths[sequence] - 1]++;
    for (int64_t t = steps - 1; t > 0; t--)
        counts[t - 1] += counts[t];
    // sequences of a length come behind all that are longer, of which counts[length] are known
    int64_t *const taken = counts + steps;
    for (int64_t sequence = 0; sequence < batch; sequence++) {
        const int64_t length = lengths[sequence];
        order[(length < steps ? counts[length] : 0) + taken[length - 1]++] = sequence;
    }
    int64_t first = 0;
    for (int64_t t = 0; t < steps; t++) {
        counts[steps + t] = first;
        first += counts[t];
    }
    memcpy(own, lengths, batch * sizeof(int64_t));
    *to = {steps, batch, first, counts, order, own};
    return true;
}

INLINE void copy(real *to, const real *from, int64_t size) {
    memcpy(to, from, size * sizeof(real));
}

// Padded sequences [steps, batch, size] as rows, and back with zeros behind the ends.
static inline void pack_rows(const Along &a, int64_t size, const real *padded, real *to) {
    for (int64_t t = 0; t < a.steps; t++)
        for (int64_t r = 0; r < rows_of(a, t); r++)
            copy(to + (first_of(a, t) + r) * size,
                 padded + (t * a.batch + sequence_at(a, r)) * size, size);
}

static inline void unpack_rows(const Along &a, int64_t size, const real *rows, real *padded) {
    if (a.counts)
        memset(padded, 0, a.steps * a.batch * size * sizeof(real));
    for (int64_t t = 0; t < a.steps; t++)
        for (int64_t r = 0; r < rows_of(a, t); r++)
            copy(padded + (t * a.batch + sequence_at(a, r)) * size,
                 rows + (first_of(a, t) + r) * size, size);
}

static inline void pack_indices(const Along &a, const int64_t *padded, int64_t *to) {
    for (int64_t t = 0; t < a.steps; t++)
        for (int64_t r = 0; r < rows_of(a, t); r++)
            to[first_of(a, t) + r] = padded[t * a.batch + sequence_at(a, r)];
}

static inline void as_numbers(int64_t count, const int64_t *from, real *to) {
    for (int64_t k = 0; k < count; k++)
        to[k] = (real)from[k];
}

// A value of each sequence, from the caller's order to that of the rows, and back.
static inline void to_row_order(const Along &a, int64_t size, const real *from, real *to) {
    for (int64_t r = 0; r < a.batch; r++)
        copy(to + r * size, from + sequence_at(a, r) * size, size);
}

static inline void to_own_order(const Along &a, int64_t size, const real *from, real *to) {
    for (int64_t r = 0; r < a.batch; r++)
        copy(to + sequence_at(a, r) * size, from + r * size, size);
}

// A value of all sequences for each, one of each sequence, or of all, for each row.
static inline void for_each(int64_t count, int64_t size, const real *from, real *to) {
    for (int64_t k = 0; k < count; k++)
        copy(to + k * size, from, size);
}

static inline void for_each_step(const Along &a, int64_t size, const real *from, real *to) {
    for (int64_t t = 0; t < a.steps; t++)
        for (int64_t r = 0; r < rows_of(a, t); r++)
            copy(to + (first_of(a, t) + r) * size, from + sequence_at(a, r) * size, size);
}

// The value of each sequence's first step, and of its last.
static inline void first_rows(const Along &a, int64_t size, const real *from, real *to) {
    to_own_order(a, size, from, to);
}

static inline void last_rows(const Along &a, int64_t size, const real *from, real *to) {
    for (int64_t r = 0; r < a.batch; r++)
        copy(to + sequence_at(a, r) * size,
             from + (first_of(a, length_at(a, r) - 1) + r) * size, size);
}

// The mean over each sequence's steps.
static inline void mean_rows(const Along &a, int64_t size, const real *from, real *to) {
    clear(a.batch * size, to);
    for (int64_t t = 0; t < a.steps; t++)
        for (int64_t r = 0; r < rows_of(a, t); r++)
            add(size, from + (first_of(a, t) + r) * size, to + sequence_at(a, r) * size);
    for (int64_t r = 0; r < a.batch; r++)
        for (int64_t k = 0; k < size; k++)
            to[sequence_at(a, r) * size + k] /= length_at(a, r);
}

// Each sequence from its last step to its first.
static inline void reverse_rows(const Along &a, int64_t size, const real *from, real *to) {
    for (int64_t t = 0; t < a.steps; t++)
        for (int64_t r = 0; r < rows_of(a, t); r++)
            copy(to + (first_of(a, t) + r) * size,
                 from + (first_of(a, length_at(a, r) - 1 - t) + r) * size, size);
}

// The values of `width` steps around each step, zeros beyond the sequence's ends.
static inline void window_rows(const Along &a, int64_t size, int64_t width, const real *from,
                               real *to) {
    for (int64_t t = 0; t < a.steps; t++)
        for (int64_t r = 0; r < rows_of(a, t); r++)
            for (int64_t k = 0; k < width; k++) {
                const int64_t near = t + k - (width - 1) / 2;
                real *const place = to + ((first_of(a, t) + r) * width + k) * size;
                if (near < 0 || near >= length_at(a, r))
                    clear(size, place);
                else
                    copy(place, from + (first_of(a, near) + r) * size, size);
            }
}

// The values one step before, from `state` on; what the last step leaves is in `state` then.
static inline void shift_rows(const Along &a, int64_t size, const real *from, real *state,
                              real *to) {
    for (int64_t t = 0; t < a.steps; t++)
        for (int64_t r = 0; r < rows_of(a, t); r++)
            copy(to + (first_of(a, t) + r) * size,
                 t ? from + (first_of(a, t - 1) + r) * size : state + r * size, size);
    for (int64_t r = 0; r < a.batch; r++)
        copy(state + r * size, from + (first_of(a, length_at(a, r) - 1) + r) * size, size);
}

// As above, from the last step to the first.
static inline void shift_rows_back(const Along &a, int64_t size, const real *from, real *state,
                                   real *to) {
    for (int64_t t = 0; t < a.steps; t++)
        for (int64_t r = 0; r < rows_of(a, t); r++)
            copy(to + (first_of(a, t) + r) * size,
                 t + 1 < length_at(a, r) ? from + (first_of(a, t + 1) + r) * size
                                         : state + r * size, size);
    for (int64_t r = 0; r < a.batch; r++)
        copy(state + r * size, from + r * size, size);
}

// The rows of a table that indices name; false where one names none.
static inline bool take_rows(int64_t count, int64_t size, int64_t height, const real *table,
                             const int64_t *index, real *to) {
    for (int64_t k = 0; k < count; k++) {
        if (index[k] < 0 || index[k] >= height)
            return false;
        copy(to + k * size, table + index[k] * size, size);
    }
    return true;
}

// How a loop is run, by a small model of what it costs: by so many threads, each with sequences
// of its own or places of its own. `work` are the multiplications of one sequence in one step,
// `meetings` how often in a step threads that share the places wait for each other.
struct Way {
    int64_t threads, by_rows;
};

static inline Way way(double batch, double steps, double work, int64_t meetings,
                      int64_t threads) {
    const double alone = batch * steps * work;
    if (threads < 2 || alone < CALLING)
        return {1, 1};
    const int64_t rows = batch < threads ? (int64_t)batch : threads;
    const double by_rows = CALLING + alone / rows * (work * sizeof(real) <= NEAR ? 1 : 1.3);
    const double by_places = CALLING + alone / threads + steps * meetings * MEETING;
    if (alone <= by_rows && alone <= by_places)
        return {1, 1};
    return by_rows <= by_places ? Way{rows, 1} : Way{threads, 0};
}

// A weight in panels, and how many numbers these are added to `work`; null without memory.
static inline const real *panels(Store &store,
                                 int64_t (*pack)(int64_t, const int64_t *, const real *, real *),
                                 const int64_t *dims, const real *weight, double *work) {
    const int64_t count = pack(1, dims, 0, 0);
    real *const made = numbers(store, count);
    if (made)
        pack(1, dims, weight, made);
    if (work)
        *work += count;
    return made;
}
