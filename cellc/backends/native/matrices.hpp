// Products over whole sequences: of rows by a weight, and of the columns of two matrices.

static const int VECTORS = 4;                     // of a panel
static const int HEIGHT = most_rows(VECTORS);     // of a tile
static const int64_t WIDTH = VECTORS * LANES;     // of a panel, in numbers

// A matrix [rows, columns] whose rows are `stride` numbers from each other.
struct Matrix {
    real *at;
    int64_t rows, columns, stride;
};

struct Factors {
    Matrix left, right, result;
    bool failed;
};

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The rows of the left matrix by panels of a weight; the right matrix holds the panels.
static void multiply_rows(void *given, int64_t member, Team &team) {
    const Factors &f = *(const Factors *)given;
    const Range own = part(f.left.rows, 2 * HEIGHT, member, team.size);
    const int64_t height = even(own.end - own.begin, HEIGHT), depth = f.left.columns;
    alignas(64) real tile[HEIGHT * WIDTH];
    for (int64_t j = 0; j < f.result.columns; j += WIDTH)
        for (int64_t top = own.begin; top < own.end; top += height) {
            const int64_t count = smaller(height, own.end - top);
            Products<VECTORS>::run(count, depth, f.left.at + top * f.left.stride, f.left.stride, 1,
                                   f.right.at + j / WIDTH * depth * WIDTH, tile);
            for (int64_t i = 0; i < count; i++)
                memcpy(f.result.at + (top + i) * f.result.stride + j, tile + i * WIDTH,
                       smaller(WIDTH, f.result.columns - j) * sizeof(real));
        }
}

// Outer products are summed over at most so many rows before they are added to the result, in
// tiles that are as high as they can be, so that few numbers are moved for each product.
static const int ACROSS = 2;                   // vectors of a panel
static const int HIGH = most_rows(ACROSS);     // of a tile
static const int64_t WIDE = ACROSS * LANES;    // of a panel, in numbers
static const int64_t DEEP = 512;

// The numbers from one tile of columns to the next: an odd number of lines of the cache, so that
// tiles begin in different sets of it.
INLINE int64_t tile_size(int64_t rows) {
    const int64_t line = 64 / sizeof(real);
    return ((rows * HIGH + line - 1) / line | 1) * line;
}

// Columns of a block of rows in tiles of HIGH, each tile's numbers of one row side by side.
INLINE void tile_columns(const Matrix &from, int64_t top, int64_t count, Range columns, int64_t size,
                         real *to) {
    for (int64_t r = 0; r < count; r++, to += HIGH) {
        const real *row = from.at + (top + r) * from.stride;
        real *tile = to;
        int64_t m = columns.begin;
        for (; m + HIGH <= columns.end; m += HIGH, tile += size)
            memcpy(tile, row + m, HIGH * sizeof(real));
        if (m < columns.end)
            memcpy(tile, row + m, (columns.end - m) * sizeof(real));
    }
}

INLINE void panel_of_rows(const Matrix &from, int64_t top, int64_t count, int64_t j, real *to) {
    const int64_t some = smaller(WIDE, from.columns - j);
    for (int64_t r = 0; r < count; r++) {
        if (some < WIDE)
            memset(to + r * WIDE, 0, WIDE * sizeof(real));
        memcpy(to + r * WIDE, from.at + (top + r) * from.stride + j, some * sizeof(real));
    }
}

// The sum over all rows of the outer products of a row of the left and one of the right matrix.
static void sum_outer(void *given, int64_t member, Team &team) {
    Factors &f = *(Factors *)given;
    const Range own = part(f.left.columns, HIGH, member, team.size);
    const int64_t tiles = (own.end - own.begin + HIGH - 1) / HIGH;
    const int64_t deep = even(f.left.rows, DEEP), size = tile_size(deep);
    real *const memory = reserved(tiles * size + deep * WIDE);
    if (!memory) {
        __atomic_store_n(&f.failed, true, __ATOMIC_RELAXED);
        return;
    }
    real *const panel = memory, *const columns = memory + deep * WIDE;
    alignas(64) real tile[HIGH * WIDE];
    for (int64_t top = 0; top < f.left.rows; top += deep) {
        const int64_t count = smaller(deep, f.left.rows - top);
        tile_columns(f.left, top, count, own, size, columns);
        for (int64_t j = 0; j < f.right.columns; j += WIDE) {
            panel_of_rows(f.right, top, count, j, panel);
            for (int64_t m = own.begin, at = 0; m < own.end; m += HIGH, at++) {
                Products<ACROSS>::run(smaller(HIGH, own.end - m), count,
                                       columns + at * size, 1, HIGH, panel, tile);
                for (int64_t i = 0; i < smaller(HIGH, own.end - m); i++)
                    for (int64_t at_j = j; at_j < smaller(j + WIDE, f.right.columns);
                         at_j += LANES) {
                        const int64_t n = smaller(LANES, f.right.columns - at_j);
                        real *to = f.result.at + (m + i) * f.result.stride + at_j;
                        const vec sum = load<true>(tile + i * WIDE + at_j - j, n);
                        put(to, top ? some(to, n) + sum : sum, n);
                    }
            }
        }
    }
    free(memory);
}

// A weight [outputs, inputs], or its transpose, in panels, and the numbers that these take.
EXPORT int64_t pack_weight(int64_t threads, const real *weight, int64_t outputs, int64_t inputs,
                           int64_t transposed, real *to) {
    const int64_t starts[] = {0}, row = transposed ? 1 : inputs, column = transposed ? outputs : 1;
    return pack(threads, {weight, row, column, starts, 1, outputs, inputs, VECTORS, to});
}

// The rows [rows, inputs] by a weight in panels: [rows, outputs].
EXPORT int times(int64_t threads, const real *given, int64_t rows, int64_t inputs, int64_t stride,
                 const real *panels, int64_t outputs, real *to) {
    Factors f = {{(real *)given, rows, inputs, stride}, {(real *)panels, 0, 0, 0},
                 {to, rows, outputs, outputs}, false};
    together(threads, multiply_rows, &f);
    return 0;
}

// The sum over rows of the outer products of those of a [rows, m] and of b [rows, n]: [m, n].
EXPORT int outer_sum(int64_t threads, const real *a, int64_t a_stride, const real *b,
                     int64_t b_stride, int64_t rows, int64_t m, int64_t n, real *to) {
    Factors f = {{(real *)a, rows, m, a_stride}, {(real *)b, rows, n, b_stride}, {to, m, n, n},
                 false};
    if (!rows)
        clear(m * n, to);
    together(threads, sum_outer, &f);
    return f.failed;
}
