// SPDX-License-Identifier: Apache-2.0
// g++ 12 takes the undefined operands of its own AVX-512 intrinsics for uninitialized variables
// (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include "sw/golden/kernels.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace lastmile::kernels {
namespace {

using Index = std::ptrdiff_t;

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using Strided = Eigen::Map<Matrix<T>, Eigen::Unaligned, Eigen::OuterStride<>>;
template <class T>
using ConstStrided = Eigen::Map<const Matrix<T>, Eigen::Unaligned, Eigen::OuterStride<>>;

template <class T>
ConstStrided<T> view(const T* data, Index rows, Index cols, Index stride) {
  return {data, rows, cols, Eigen::OuterStride<>(stride)};
}
template <class T>
Strided<T> view(T* data, Index rows, Index cols, Index stride) {
  return {data, rows, cols, Eigen::OuterStride<>(stride)};
}

// Bytes of unfolded input that one matrix product works on: a quarter of a common second-level
// cache.
constexpr Index kTileBytes = Index{256} << 10;

template <class T>
T limit_high(Activation a) {
  return a == Activation::relu6 ? T{6} : std::numeric_limits<T>::infinity();
}

// Every row of `width` elements, `stride` apart, becomes the bias, or 0 where there is none.
template <class T>
void start_rows(T* y, Index rows, Index width, Index stride, const T* bias) {
  constexpr Index kBlock = 16;  // a length the compiler knows becomes a few instructions
  Index first = 0;
  for (; first + kBlock <= width; first += kBlock) {
    T value[kBlock] = {};
    if (bias != nullptr) std::copy_n(bias + first, kBlock, value);
    T* to = y + first;
    for (Index r = 0; r < rows; ++r, to += stride) std::copy_n(value, kBlock, to);
  }
  for (; first < width; ++first) {
    const T value = bias == nullptr ? T{0} : bias[first];
    for (Index r = 0; r < rows; ++r) y[r * stride + first] = value;
  }
}

template <class T>
void clamp_rows(T* y, Index rows, Index width, Index stride, Activation activation) {
  if (activation == Activation::none) return;
  if (stride == width) {
    width *= rows;
    rows = 1;
  }
  const T high = limit_high<T>(activation);
  for (Index r = 0; r < rows; ++r, y += stride) {
    for (Index i = 0; i < width; ++i) {
      const T v = y[i] < T{0} ? T{0} : y[i];  // in this form a NaN stays visible
      y[i] = v > high ? high : v;
    }
  }
}

// Short runs dominate unfolding; a call of memcpy costs more than they do.
template <class T>
void copy_run(const T* from, Index count, T* to) {
  if (count < 16) {
    for (Index i = 0; i < count; ++i) to[i] = from[i];
  } else {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
  }
}
template <class T>
void add_run(const T* from, Index count, T* to) {
  for (Index i = 0; i < count; ++i) to[i] += from[i];
}

// Calls run(input offset or -1 for padding, length, column offset) for each stretch of the unfolded
// row of one output position that is contiguous in the input and the column.
template <class Run>
void for_runs(const Layer& l, Index iy0, Index ix0, Index group_channels, Run&& run) {
  const Index in_c = l.in.c;
  const bool whole = l.dilation_w == 1 && group_channels == in_c;
  Index column = 0;
  for (Index ky = 0; ky < l.kernel_h; ++ky) {
    const Index iy = iy0 + ky * l.dilation_h;
    const Index line = Index{l.kernel_w} * group_channels;
    if (iy < 0 || iy >= l.in.h) {
      run(Index{-1}, line, column);
      column += line;
      continue;
    }
    if (whole) {
      const Index left = std::clamp<Index>(-ix0, 0, l.kernel_w);
      const Index right = std::clamp<Index>(l.in.w - ix0, left, l.kernel_w);
      if (left > 0) run(Index{-1}, left * in_c, column);
      if (right > left)
        run((iy * l.in.w + ix0 + left) * in_c, (right - left) * in_c, column + left * in_c);
      if (right < l.kernel_w) run(Index{-1}, (l.kernel_w - right) * in_c, column + right * in_c);
      column += line;
      continue;
    }
    for (Index kx = 0; kx < l.kernel_w; ++kx, column += group_channels) {
      const Index ix = ix0 + kx * l.dilation_w;
      run(ix < 0 || ix >= l.in.w ? Index{-1} : (iy * l.in.w + ix) * in_c, group_channels, column);
    }
  }
}

// Walks the output positions [first, first + rows) of n examples in NHWC order: at(example offset
// in x, iy0, ix0).
template <class At>
void for_positions(const Layer& l, Index first, Index rows, At&& at) {
  const Index plane = Index{l.out.h} * l.out.w;
  Index example = first / plane;
  Index oy = first % plane / l.out.w;
  Index ox = first % l.out.w;
  for (Index r = 0; r < rows; ++r) {
    at(example * l.in.elements(), oy * l.stride_h - l.pad_top, ox * l.stride_w - l.pad_left);
    if (++ox == l.out.w) {
      ox = 0;
      if (++oy == l.out.h) {
        oy = 0;
        ++example;
      }
    }
  }
}

// The columns of one position: kernel rows of `run` elements each, or, where the length is not
// fixed, run by run.
template <int kRun, class T>
void unfold_rows(const Layer& l, const T* x, Index first, Index rows, Index group_channels,
                 T* columns) {
  const Index k = Index{l.kernel_h} * l.kernel_w * group_channels;
  // First positions that reach beyond the input.
  const Index end_y = l.in.h - Index{l.kernel_h - 1} * l.dilation_h;
  const Index end_x = l.in.w - Index{l.kernel_w - 1} * l.dilation_w;
  const Index down = Index{l.dilation_h} * l.in.w * l.in.c;
  for_positions(l, first, rows, [&](Index example, Index iy0, Index ix0) {
    if (kRun > 0 && iy0 >= 0 && ix0 >= 0 && iy0 < end_y && ix0 < end_x) {
      const T* from = x + example + (iy0 * l.in.w + ix0) * l.in.c;
      T* to = columns;
      for (Index ky = 0; ky < l.kernel_h; ++ky, from += down, to += kRun)
        std::copy_n(from, kRun, to);
    } else {
      for_runs(l, iy0, ix0, group_channels, [&](Index from, Index count, Index column) {
        if (from < 0) {
          std::fill_n(columns + column, count, T{0});
        } else {
          copy_run(x + example + from, count, columns + column);
        }
      });
    }
    columns += k;
  });
}

template <class T>
void unfold(const Layer& l, const T* x, Index first, Index rows, Index group_channels, T* columns) {
  const bool whole = l.dilation_w == 1 && group_channels == l.in.c;
  switch (whole ? l.kernel_w * l.in.c : 0) {
    case 3:
      return unfold_rows<3>(l, x, first, rows, group_channels, columns);
    case 4:
      return unfold_rows<4>(l, x, first, rows, group_channels, columns);
    case 5:
      return unfold_rows<5>(l, x, first, rows, group_channels, columns);
    case 9:
      return unfold_rows<9>(l, x, first, rows, group_channels, columns);
    case 48:
      return unfold_rows<48>(l, x, first, rows, group_channels, columns);
    case 96:
      return unfold_rows<96>(l, x, first, rows, group_channels, columns);
    default:
      return unfold_rows<0>(l, x, first, rows, group_channels, columns);
  }
}

template <class T>
void fold_add(const Layer& l, const T* columns, Index first, Index rows, Index group_channels,
              T* dx) {
  const Index k = Index{l.kernel_h} * l.kernel_w * group_channels;
  for_positions(l, first, rows, [&](Index example, Index iy0, Index ix0) {
    for_runs(l, iy0, ix0, group_channels, [&](Index from, Index count, Index column) {
      if (from >= 0) add_run(columns + column, count, dx + example + from);
    });
    columns += k;
  });
}

// The input is its own unfolding: 1x1 kernels, and fully connected layers as one position with K
// channels.
bool is_matrix(const Layer& l) {
  if (l.op == Op::fully_connected) return true;
  return l.kernel_h == 1 && l.kernel_w == 1 && l.stride_h == 1 && l.stride_w == 1 && l.groups == 1;
}

template <class T>
T* reserve(std::vector<T>& buffer, Index count) {
  if (static_cast<Index>(buffer.size()) < count) buffer.resize(static_cast<std::size_t>(count));
  return buffer.data();
}

// One group of a convolution as a matrix product: sizes, and where the group starts in each tensor.
struct Product {
  Index k, outputs, out_stride, group_channels, tile;
  explicit Product(const Layer& l, std::size_t element)
      : k(static_cast<Index>(reduction(l))),
        outputs(l.filters / l.groups),
        out_stride(l.filters),
        group_channels(l.in.c / l.groups),
        tile(std::max<Index>(16, kTileBytes / (k * static_cast<Index>(element)))) {}
};

template <class T>
void conv_forward(const Layer& l, int n, const T* x, const T* weights, const T* bias,
                  Activation activation, T* y, Scratch<T>& scratch) {
  const Product p(l, sizeof(T));
  const Index rows = Index{n} * l.out.h * l.out.w;
  const bool direct = is_matrix(l);
  T* columns = direct ? nullptr : reserve(scratch.columns, std::min(p.tile, rows) * p.k);
  for (Index g = 0; g < l.groups; ++g) {
    const auto w = view(weights + g * p.outputs * p.k, p.outputs, p.k, p.k);
    for (Index first = 0; first < rows; first += p.tile) {
      const Index count = std::min(p.tile, rows - first);
      if (!direct) unfold(l, x + g * p.group_channels, first, count, p.group_channels, columns);
      const T* from = direct ? x + first * p.k : columns;
      T* to = y + first * p.out_stride + g * p.outputs;
      start_rows(to, count, p.outputs, p.out_stride,
                 bias == nullptr ? nullptr : bias + g * p.outputs);
      view(to, count, p.outputs, p.out_stride).noalias() +=
          view(from, count, p.k, p.k) * w.transpose();
      clamp_rows(to, count, p.outputs, p.out_stride, activation);
    }
  }
}

template <class T>
void conv_backward(const Layer& l, int n, const T* x, const T* weights, const T* dy, T* dx,
                   T* dweights, Scratch<T>& scratch) {
  const Product p(l, sizeof(T));
  const Index rows = Index{n} * l.out.h * l.out.w;
  const bool direct = is_matrix(l);
  T* columns = direct || dweights == nullptr
                   ? nullptr
                   : reserve(scratch.columns, std::min(p.tile, rows) * p.k);
  T* gradients = direct || dx == nullptr
                     ? nullptr
                     : reserve(scratch.column_gradients, std::min(p.tile, rows) * p.k);
  for (Index g = 0; g < l.groups; ++g) {
    const auto w = view(weights + g * p.outputs * p.k, p.outputs, p.k, p.k);
    for (Index first = 0; first < rows; first += p.tile) {
      const Index count = std::min(p.tile, rows - first);
      const auto d =
          view(dy + first * p.out_stride + g * p.outputs, count, p.outputs, p.out_stride);
      if (dweights != nullptr) {
        if (!direct) unfold(l, x + g * p.group_channels, first, count, p.group_channels, columns);
        const T* from = direct ? x + first * p.k : columns;
        view(dweights + g * p.outputs * p.k, p.outputs, p.k, p.k).noalias() +=
            d.transpose() * view(from, count, p.k, p.k);
      }
      if (dx == nullptr) continue;
      if (direct) {
        view(dx + first * p.k, count, p.k, p.k).noalias() += d * w;
      } else {
        view(gradients, count, p.k, p.k).noalias() = d * w;
        fold_add(l, static_cast<const T*>(gradients), first, count, p.group_channels,
                 dx + g * p.group_channels);
      }
    }
  }
}

// Calls tap(input pixel, kernel position) for each kernel position inside the input.
template <class Tap>
void for_taps(const Layer& l, Index iy0, Index ix0, Tap&& tap) {
  for (Index ky = 0; ky < l.kernel_h; ++ky) {
    const Index iy = iy0 + ky * l.dilation_h;
    if (iy < 0 || iy >= l.in.h) continue;
    for (Index kx = 0; kx < l.kernel_w; ++kx) {
      const Index ix = ix0 + kx * l.dilation_w;
      if (ix >= 0 && ix < l.in.w) tap(iy * l.in.w + ix, ky * l.kernel_w + kx);
    }
  }
}

template <class T>
void depthwise_forward(const Layer& l, int n, const T* x, const T* weights, const T* bias,
                       Activation activation, T* y) {
  const Index channels = l.filters;
  const Index rows = Index{n} * l.out.h * l.out.w;
  start_rows(y, rows, channels, channels, bias);
  T* out = y;
  for_positions(l, 0, rows, [&](Index example, Index iy0, Index ix0) {
    for_taps(l, iy0, ix0, [&](Index pixel, Index position) {
      const T* from = x + example + pixel * l.in.c;
      const T* w = weights + position * channels;
      if (l.multiplier == 1) {
        for (Index c = 0; c < channels; ++c) out[c] += from[c] * w[c];
      } else {
        for (Index c = 0; c < channels; ++c) out[c] += from[c / l.multiplier] * w[c];
      }
    });
    out += channels;
  });
  clamp_rows(y, rows, channels, channels, activation);
}

template <class T>
void depthwise_backward(const Layer& l, int n, const T* x, const T* weights, const T* dy, T* dx,
                        T* dweights) {
  const Index channels = l.filters;
  const T* d = dy;
  for_positions(l, 0, Index{n} * l.out.h * l.out.w, [&](Index example, Index iy0, Index ix0) {
    for_taps(l, iy0, ix0, [&](Index pixel, Index position) {
      const Index at = example + pixel * l.in.c;
      const T* w = weights + position * channels;
      T* dw = dweights + position * channels;
      if (dweights != nullptr && l.multiplier == 1) {
        for (Index c = 0; c < channels; ++c) dw[c] += x[at + c] * d[c];
      } else if (dweights != nullptr) {
        for (Index c = 0; c < channels; ++c) dw[c] += x[at + c / l.multiplier] * d[c];
      }
      if (dx != nullptr && l.multiplier == 1) {
        for (Index c = 0; c < channels; ++c) dx[at + c] += w[c] * d[c];
      } else if (dx != nullptr) {
        for (Index c = 0; c < channels; ++c) dx[at + c / l.multiplier] += w[c] * d[c];
      }
    });
    d += channels;
  });
}

template <class T>
void max_pool_forward(const Layer& l, int n, const T* x, T* y) {
  for_positions(l, 0, Index{n} * l.out.h * l.out.w, [&](Index example, Index iy0, Index ix0) {
    std::fill_n(y, l.in.c, std::numeric_limits<T>::lowest());
    for_taps(l, iy0, ix0, [&](Index pixel, Index) {
      const T* from = x + example + pixel * l.in.c;
      for (Index c = 0; c < l.in.c; ++c) y[c] = y[c] < from[c] ? from[c] : y[c];
    });
    y += l.in.c;
  });
}

// The first of equal maxima takes the gradient.
template <class T>
void max_pool_backward(const Layer& l, int n, const T* x, const T* dy, T* dx) {
  std::vector<T> best(static_cast<std::size_t>(l.in.c));
  std::vector<Index> where(static_cast<std::size_t>(l.in.c));
  for_positions(l, 0, Index{n} * l.out.h * l.out.w, [&](Index example, Index iy0, Index ix0) {
    std::fill(best.begin(), best.end(), std::numeric_limits<T>::lowest());
    std::fill(where.begin(), where.end(), Index{-1});
    for_taps(l, iy0, ix0, [&](Index pixel, Index) {
      const T* from = x + example + pixel * l.in.c;
      const Index at = example + pixel * l.in.c;
      for (std::size_t c = 0; c < best.size(); ++c) {
        const bool better = from[c] > best[c];
        best[c] = better ? from[c] : best[c];
        where[c] = better ? at : where[c];
      }
    });
    for (std::size_t c = 0; c < best.size(); ++c) {
      if (where[c] >= 0) dx[where[c] + static_cast<Index>(c)] += dy[c];
    }
    dy += l.in.c;
  });
}

template <class T>
void mean_forward(const Layer& l, int n, const T* x, T* y) {
  for_positions(l, 0, Index{n} * l.out.h * l.out.w, [&](Index example, Index iy0, Index ix0) {
    std::fill_n(y, l.in.c, T{0});
    Index count = 0;
    for_taps(l, iy0, ix0, [&](Index pixel, Index) {
      add_run(x + example + pixel * l.in.c, l.in.c, y);
      ++count;
    });
    const T scale = T{1} / static_cast<T>(count);
    for (Index c = 0; c < l.in.c; ++c) y[c] *= scale;
    y += l.in.c;
  });
}

template <class T>
void mean_backward(const Layer& l, int n, const T* dy, T* dx) {
  for_positions(l, 0, Index{n} * l.out.h * l.out.w, [&](Index example, Index iy0, Index ix0) {
    Index count = 0;
    for_taps(l, iy0, ix0, [&](Index, Index) { ++count; });
    const T scale = T{1} / static_cast<T>(count);
    for_taps(l, iy0, ix0, [&](Index pixel, Index) {
      T* to = dx + example + pixel * l.in.c;
      for (Index c = 0; c < l.in.c; ++c) to[c] += dy[c] * scale;
    });
    dy += l.in.c;
  });
}

// Over the channels of each position, as TensorFlow Lite does.
template <class T>
void softmax_forward(const Layer& l, int n, const T* x, T* y) {
  const Index positions = Index{n} * l.in.h * l.in.w;
  for (Index r = 0; r < positions; ++r, x += l.in.c, y += l.in.c) {
    const T top = *std::max_element(x, x + l.in.c);
    T sum{0};
    for (Index c = 0; c < l.in.c; ++c) sum += y[c] = std::exp(x[c] - top);
    for (Index c = 0; c < l.in.c; ++c) y[c] /= sum;
  }
}

template <class T>
void concat_forward(const Layer& l, int n, std::span<const T* const> inputs, T* y) {
  for (int b = 0; b < n; ++b) {
    for (std::size_t k = 0; k < l.parts.size(); ++k) {
      const auto count = static_cast<Index>(l.parts[k].elements);
      const auto gain = static_cast<T>(l.parts[k].gain);
      const T* from = inputs[k] + b * count;
      for (Index i = 0; i < count; ++i) y[i] = gain * from[i];
      y += count;
    }
    for (const double c : l.constants) *y++ = static_cast<T>(c);
  }
}

template <class T>
void concat_backward(const Layer& l, int n, const T* dy, std::span<T* const> gradients) {
  for (int b = 0; b < n; ++b) {
    for (std::size_t k = 0; k < l.parts.size(); ++k) {
      const auto count = static_cast<Index>(l.parts[k].elements);
      const auto gain = static_cast<T>(l.parts[k].gain);
      T* to = gradients[k] == nullptr ? nullptr : gradients[k] + b * count;
      for (Index i = 0; to != nullptr && i < count; ++i) to[i] += gain * dy[i];
      dy += count;
    }
    dy += static_cast<Index>(l.constants.size());
  }
}

}  // namespace

template <class T>
void weighted_forward(const Layer& l, int n, const T* x, const T* weights, const T* bias,
                      Activation activation, T* y, Scratch<T>& scratch) {
  if (l.op == Op::depthwise_conv2d) {
    depthwise_forward(l, n, x, weights, bias, activation, y);
  } else {
    conv_forward(l, n, x, weights, bias, activation, y, scratch);
  }
}

template <class T>
void weighted_backward(const Layer& l, int n, const T* x, const T* weights, const T* dy, T* dx,
                       T* dweights, T* dbias, Scratch<T>& scratch) {
  if (dbias != nullptr) {
    const Index rows = Index{n} * l.out.h * l.out.w;
    for (Index r = 0; r < rows; ++r) add_run(dy + r * l.filters, l.filters, dbias);
  }
  if (dx == nullptr && dweights == nullptr) return;
  if (l.op == Op::depthwise_conv2d) {
    depthwise_backward(l, n, x, weights, dy, dx, dweights);
  } else {
    conv_backward(l, n, x, weights, dy, dx, dweights, scratch);
  }
}

template <class T>
void plain_forward(const Layer& l, int n, std::span<const T* const> inputs, T* y) {
  const T* a = inputs[0];
  switch (l.op) {
    case Op::max_pool2d:
      return max_pool_forward(l, n, a, y);
    case Op::average_pool2d:
    case Op::global_average_pool:
      return mean_forward(l, n, a, y);
    case Op::add: {
      const Index count = n * static_cast<Index>(l.in.elements());
      for (Index i = 0; i < count; ++i) y[i] = a[i] + inputs[1][i];
      return;
    }
    case Op::concat:
      return concat_forward(l, n, inputs, y);
    case Op::softmax:
      return softmax_forward(l, n, a, y);
    case Op::conv2d:
    case Op::depthwise_conv2d:
    case Op::fully_connected:
      return;
  }
}

template <class T>
void plain_backward(const Layer& l, int n, const T* a, const T* dy, std::span<T* const> gradients) {
  T* da = gradients[0];
  switch (l.op) {
    case Op::add: {
      const Index count = n * static_cast<Index>(l.in.elements());
      for (T* to : gradients)
        if (to != nullptr) add_run(dy, count, to);
      return;
    }
    case Op::concat:
      return concat_backward(l, n, dy, gradients);
    case Op::max_pool2d:
      if (da != nullptr) max_pool_backward(l, n, a, dy, da);
      return;
    case Op::average_pool2d:
    case Op::global_average_pool:
      if (da != nullptr) mean_backward(l, n, dy, da);
      return;
    case Op::softmax:  // the loss is taken from its input
    case Op::conv2d:
    case Op::depthwise_conv2d:
    case Op::fully_connected:
      return;
  }
}

template <class T>
void activate(Activation activation, const T* x, T* y, std::size_t count) {
  if (x != y) std::copy_n(x, count, y);
  clamp_rows(y, 1, static_cast<Index>(count), 0, activation);
}

template <class T>
void activate_backward(Activation activation, const T* y, T* dy, std::size_t count) {
  if (activation == Activation::none) return;
  const T high = limit_high<T>(activation);
  for (std::size_t i = 0; i < count; ++i) dy[i] = y[i] > T{0} && y[i] < high ? dy[i] : T{0};
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define LASTMILE_INSTANTIATE(T)                                                                   \
  template void weighted_forward<T>(const Layer&, int, const T*, const T*, const T*, Activation,  \
                                    T*, Scratch<T>&);                                             \
  template void weighted_backward<T>(const Layer&, int, const T*, const T*, const T*, T*, T*, T*, \
                                     Scratch<T>&);                                                \
  template void plain_forward<T>(const Layer&, int, std::span<const T* const>, T*);               \
  template void plain_backward<T>(const Layer&, int, const T*, const T*, std::span<T* const>);    \
  template void activate<T>(Activation, const T*, T*, std::size_t);                               \
  template void activate_backward<T>(Activation, const T*, T*, std::size_t);
// NOLINTEND(bugprone-macro-parentheses)
LASTMILE_INSTANTIATE(float)
LASTMILE_INSTANTIATE(double)
#undef LASTMILE_INSTANTIATE

}  // namespace lastmile::kernels
