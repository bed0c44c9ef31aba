// Weights in panels, as products read them.

// A weight whose output m by input k is at m*row + k*column, one of these being 1, in panels of
// `blocks` vectors for each of `gates` results, of which each has `length` numbers and begins at
// one of `starts`; zeros fill the last panel.
struct Packing {
    const real *weight;
    int64_t row, column;
    const int64_t *starts;
    int64_t gates, length, depth, blocks;
    real *to;

    int64_t panels() const { return (length + blocks * LANES - 1) / (blocks * LANES); }
    int64_t line() const { return blocks * gates * LANES; }
};

// Some inputs of as many outputs as a vector has lanes, which stand below each other.
INLINE void pack_by_rows(const real *from, int64_t row, int64_t count, int64_t depth, int64_t line,
                         real *to) {
    real square[LANES][LANES] = {};
    for (int64_t k = 0; k < depth; k += LANES) {
        const int64_t width = depth - k < LANES ? depth - k : LANES;
        for (int64_t lane = 0; lane < count; lane++)
            if (width == LANES)
                memcpy(square[lane], from + lane * row + k, LANES * sizeof(real));
            else
                memcpy(square[lane], from + lane * row + k, width * sizeof(real));
        for (int64_t i = 0; i < width; i++)
            for (int64_t lane = 0; lane < LANES; lane++)
                to[(k + i) * line + lane] = square[lane][i];
    }
}

// The same where the outputs stand beside each other.
INLINE void pack_by_columns(const real *from, int64_t column, int64_t count, int64_t depth,
                            int64_t line, real *to) {
    for (int64_t k = 0; k < depth; k++)
        store<true>(to + k * line, some(from + k * column, count), LANES);
}

static void pack_panels(void *given, int64_t member, Team &team) {
    const Packing &p = *(const Packing *)given;
    const Range own = part(p.panels(), 1, member, team.size);
    for (int64_t panel = own.begin; panel < own.end; panel++)
        for (int64_t vector = 0; vector < p.blocks * p.gates; vector++) {
            const int64_t first = (panel * p.blocks + vector / p.gates) * LANES;
            const int64_t left = p.length - first;
            const int64_t count = left < 0 ? 0 : left < LANES ? left : LANES;
            const real *from = p.weight + (p.starts[vector % p.gates] + first) * p.row;
            real *to = p.to + panel * p.depth * p.line() + vector * LANES;
            if (p.row == 1)
                pack_by_columns(from, p.column, count, p.depth, p.line(), to);
            else
                pack_by_rows(from, p.row, count, p.depth, p.line(), to);
        }
}

// Put a weight in panels; gives their size, which is all it does without a place for them.
static inline int64_t pack(int64_t threads, const Packing &packing) {
    if (packing.to)
        together(threads, pack_panels, (void *)&packing);
    return packing.panels() * packing.depth * packing.line();
}
