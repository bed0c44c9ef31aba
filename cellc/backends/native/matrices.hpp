// Products over whole sequences: of rows by a weight, and of the columns of two matrices.

static const int VECTORS = 4;                     // of a panel
static const int HEIGHT = most_rows(VECTORS);     // of a tile
static const int64_t WIDTH = VECTORS * LANES;     // of a panel, in numbers
static const int64_t DEEP = 192;                  // rows whose products are summed in registers

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

// Columns of a block of rows in tiles of HEIGHT, each tile's numbers of one row side by side.
INLINE void tile_columns(const Matrix &from, int64_t top, int64_t count, Range columns, real *to) {
    for (int64_t r = 0; r < count; r++, to += HEIGHT) {
        const real *row = from.at + (top + r) * from.stride;
        real *tile = to;
        int64_t m = columns.begin;
        for (; m + HEIGHT <= columns.end; m += HEIGHT, tile += count * HEIGHT)
            memcpy(tile, row + m, HEIGHT * sizeof(real));
        if (m < columns.end)
            memcpy(tile, row + m, (columns.end - m) * sizeof(real));
    }
}

INLINE void panel_of_rows(const Matrix &from, int64_t top, int64_t count, int64_t j, real *to) {
    const int64_t some = smaller(WIDTH, from.columns - j);
    for (int64_t r = 0; r < count; r++) {
        if (some < WIDTH)
            memset(to + r * WIDTH, 0, WIDTH * sizeof(real));
        memcpy(to + r * WIDTH, from.at + (top + r) * from.stride + j, some * sizeof(real));
    }
}

// The sum over all rows of the outer products of a row of the left and one of the right matrix.
static void sum_outer(void *given, int64_t member, Team &team) {
    Factors &f = *(Factors *)given;
    const Range own = part(f.left.columns, HEIGHT, member, team.size);
    const int64_t tiles = (own.end - own.begin + HEIGHT - 1) / HEIGHT;
    real *const memory = reserved(DEEP * (tiles * HEIGHT + WIDTH));
    if (!memory) {
        __atomic_store_n(&f.failed, true, __ATOMIC_RELAXED);
        return;
    }
    real *const panel = memory, *const columns = memory + DEEP * WIDTH;
    alignas(64) real tile[HEIGHT * WIDTH];
    for (int64_t top = 0; top < f.left.rows; top += DEEP) {
        const int64_t count = smaller(DEEP, f.left.rows - top);
        tile_columns(f.left, top, count, own, columns);
        for (int64_t j = 0; j < f.right.columns; j += WIDTH) {
            panel_of_rows(f.right, top, count, j, panel);
            for (int64_t m = own.begin, at = 0; m < own.end; m += HEIGHT, at++) {
                Products<VECTORS>::run(smaller(HEIGHT, own.end - m), count,
                                       columns + at * count * HEIGHT, 1, HEIGHT, panel, tile);
                for (int64_t i = 0; i < smaller(HEIGHT, own.end - m); i++)
                    for (int64_t at_j = j; at_j < smaller(j + WIDTH, f.right.columns);
                         at_j += LANES) {
                        const int64_t n = smaller(LANES, f.right.columns - at_j);
                        real *to = f.result.at + (m + i) * f.result.stride + at_j;
                        const vec sum = load<true>(tile + i * WIDTH + at_j - j, n);
                        put(to, top ? some(to, n) + sum : sum, n);
                    }
            }
        }
    }
    free(memory);
}

// A weight [outputs, inputs], or its transpose, in panels, and the numbers that these take.
EXPORT int64_t pack_weight(const real *weight, int64_t outputs, int64_t inputs, int64_t transposed,
                           real *to) {
    const int64_t starts[] = {0};
    return transposed ? pack(weight, 1, outputs, starts, 1, outputs, inputs, VECTORS, to)
                      : pack(weight, inputs, 1, starts, 1, outputs, inputs, VECTORS, to);
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
    together(threads, sum_outer, &f);
    return f.failed;
}
