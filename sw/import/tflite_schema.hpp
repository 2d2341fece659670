// SPDX-License-Identifier: Apache-2.0
// The part of TensorFlow Lite's file format (schema version 3, identifier "TFL3") that the importer
// reads, as FlatBuffers tables. A field is known by its id in the public format; its place in the
// table's directory is 4 + 2 * id. Ids never change their meaning, so that files of every age read
// alike. Nothing may be read before verify_model() said yes.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace lastmile::tflite {

// Numbers of the format.
enum class Type : std::int8_t {
  float32 = 0,
  float16 = 1,
  int32 = 2,
  uint8 = 3,
  int64 = 4,
  boolean = 6,
  int16 = 7,
  int8 = 9,
};

enum class Operator : std::int32_t {
  add = 0,
  average_pool_2d = 1,
  conv_2d = 3,
  depthwise_conv_2d = 4,
  dequantize = 6,
  fully_connected = 9,
  max_pool_2d = 17,
  relu = 19,
  relu6 = 21,
  reshape = 22,
  softmax = 25,
  pad = 34,
  mean = 40,
  squeeze = 43,
  expand_dims = 70,
  quantize = 114,
};

enum class Fused : std::int8_t { none = 0, relu = 1, relu_n1_to_1 = 2, relu6 = 3 };

// Type of the union `builtin_options`.
enum class OptionsType : std::uint8_t {
  conv_2d = 1,
  depthwise_conv_2d = 2,
  pool_2d = 5,
  fully_connected = 8,
  softmax = 9,
  add = 11,
  reducer = 27,
};

constexpr flatbuffers::voffset_t slot(int id) {
  return static_cast<flatbuffers::voffset_t>(4 + 2 * id);
}

template <class T>
using Vector = flatbuffers::Vector<T>;
template <class T>
using Tables = flatbuffers::Vector<flatbuffers::Offset<T>>;
using Text = flatbuffers::String;
using flatbuffers::Verifier;

// What all tables have in common: fields by id.
class Table : private flatbuffers::Table {
 public:
  template <class T>
  [[nodiscard]] T value(int id, T otherwise = {}) const {
    return GetField<T>(slot(id), otherwise);
  }
  template <class T>
  [[nodiscard]] const T* at(int id) const {
    return GetPointer<const T*>(slot(id));
  }
  [[nodiscard]] bool has(int id) const { return CheckField(slot(id)); }
  [[nodiscard]] bool starts(Verifier& v) const { return VerifyTableStart(v); }
  template <class T>
  [[nodiscard]] bool has_value(Verifier& v, int id) const {
    return VerifyField<T>(v, slot(id), sizeof(T));
  }
  template <class T>
  [[nodiscard]] bool has_vector(Verifier& v, int id) const {
    return VerifyOffset(v, slot(id)) && v.VerifyVector(at<Vector<T>>(id));
  }
  [[nodiscard]] bool has_text(Verifier& v, int id) const {
    return VerifyOffset(v, slot(id)) && v.VerifyString(at<Text>(id));
  }
  template <class T>
  [[nodiscard]] bool has_table(Verifier& v, int id) const {
    return VerifyOffset(v, slot(id)) && v.VerifyTable(at<T>(id));
  }
  template <class T>
  [[nodiscard]] bool has_tables(Verifier& v, int id) const {
    return VerifyOffset(v, slot(id)) && v.VerifyVector(at<Tables<T>>(id)) &&
           v.VerifyVectorOfTables(at<Tables<T>>(id));
  }
};

struct Quantization : Table {
  [[nodiscard]] const Vector<float>* scale() const { return at<Vector<float>>(2); }
  [[nodiscard]] const Vector<std::int64_t>* zero_point() const {
    return at<Vector<std::int64_t>>(3);
  }
  [[nodiscard]] std::int32_t dimension() const { return value<std::int32_t>(6); }
  [[nodiscard]] bool Verify(Verifier& v) const {
    return starts(v) && has_vector<float>(v, 2) && has_vector<std::int64_t>(v, 3) &&
           has_value<std::int32_t>(v, 6) && v.EndTable();
  }
};

struct Tensor : Table {
  [[nodiscard]] const Vector<std::int32_t>* shape() const { return at<Vector<std::int32_t>>(0); }
  [[nodiscard]] Type type() const { return static_cast<Type>(value<std::int8_t>(1)); }
  [[nodiscard]] std::uint32_t buffer() const { return value<std::uint32_t>(2); }
  [[nodiscard]] const Text* name() const { return at<Text>(3); }
  [[nodiscard]] const Quantization* quantization() const { return at<Quantization>(4); }
  [[nodiscard]] bool sparse() const { return has(6); }
  [[nodiscard]] bool Verify(Verifier& v) const {
    return starts(v) && has_vector<std::int32_t>(v, 0) && has_value<std::int8_t>(v, 1) &&
           has_value<std::uint32_t>(v, 2) && has_text(v, 3) && has_table<Quantization>(v, 4) &&
           has_value<std::uint32_t>(v, 6) && v.EndTable();
  }
};

struct OperatorCode : Table {
  // Files older than the wide field have only the byte, newer ones may have 127 there.
  [[nodiscard]] Operator code() const {
    return static_cast<Operator>(
        std::max<std::int32_t>(value<std::int8_t>(0), value<std::int32_t>(3)));
  }
  [[nodiscard]] const Text* custom() const { return at<Text>(1); }
  [[nodiscard]] bool Verify(Verifier& v) const {
    return starts(v) && has_value<std::int8_t>(v, 0) && has_text(v, 1) &&
           has_value<std::int32_t>(v, 3) && v.EndTable();
  }
};

// The options of every operator supported are numbers: which field means what, the importer knows.
struct Options : Table {
  [[nodiscard]] bool verify(Verifier& v, std::initializer_list<int> bytes,
                            std::initializer_list<int> words) const {
    if (!starts(v)) return false;
    for (const int id : bytes)
      if (!has_value<std::int8_t>(v, id)) return false;
    for (const int id : words)
      if (!has_value<std::int32_t>(v, id)) return false;
    return v.EndTable();
  }
};

struct Operation : Table {
  [[nodiscard]] std::uint32_t code() const { return value<std::uint32_t>(0); }
  [[nodiscard]] const Vector<std::int32_t>* inputs() const { return at<Vector<std::int32_t>>(1); }
  [[nodiscard]] const Vector<std::int32_t>* outputs() const { return at<Vector<std::int32_t>>(2); }
  [[nodiscard]] OptionsType options_type() const {
    return static_cast<OptionsType>(value<std::uint8_t>(3));
  }
  // Null for options of a type that was not verified.
  [[nodiscard]] const Options* options(OptionsType type) const {
    return options_type() == type ? at<Options>(4) : nullptr;
  }
  [[nodiscard]] bool Verify(Verifier& v) const {
    return starts(v) && has_value<std::uint32_t>(v, 0) && has_vector<std::int32_t>(v, 1) &&
           has_vector<std::int32_t>(v, 2) && has_value<std::uint8_t>(v, 3) && verify_options(v) &&
           v.EndTable();
  }

 private:
  // Options of a type that nothing reads: only their place is looked at.
  struct Any : Table {
    [[nodiscard]] bool Verify(Verifier&) const { return true; }
  };
  [[nodiscard]] bool verify_options(Verifier& v) const {
    if (!has_table<Any>(v, 4)) return false;
    if (!has(4)) return true;
    const auto check = [&](std::initializer_list<int> bytes, std::initializer_list<int> words) {
      return at<Options>(4)->verify(v, bytes, words);
    };
    switch (options_type()) {
      case OptionsType::conv_2d:  // padding, stride w h, fused, dilation w h
        return check({0, 3}, {1, 2, 4, 5});
      case OptionsType::depthwise_conv_2d:  // padding, stride w h, multiplier, fused, dilation w h
        return check({0, 4}, {1, 2, 3, 5, 6});
      case OptionsType::pool_2d:  // padding, stride w h, filter w h, fused
        return check({0, 5}, {1, 2, 3, 4});
      case OptionsType::fully_connected:  // fused, format of weights
        return check({0, 1}, {});
      case OptionsType::softmax:  // beta
        return check({}, {0});
      case OptionsType::add:      // fused
      case OptionsType::reducer:  // keep_dims
        return check({0}, {});
    }
    return true;
  }
};

struct SubGraph : Table {
  [[nodiscard]] const Tables<Tensor>* tensors() const { return at<Tables<Tensor>>(0); }
  [[nodiscard]] const Vector<std::int32_t>* inputs() const { return at<Vector<std::int32_t>>(1); }
  [[nodiscard]] const Vector<std::int32_t>* outputs() const { return at<Vector<std::int32_t>>(2); }
  [[nodiscard]] const Tables<Operation>* operators() const { return at<Tables<Operation>>(3); }
  [[nodiscard]] bool Verify(Verifier& v) const {
    return starts(v) && has_tables<Tensor>(v, 0) && has_vector<std::int32_t>(v, 1) &&
           has_vector<std::int32_t>(v, 2) && has_tables<Operation>(v, 3) && v.EndTable();
  }
};

// Constant data: bytes inside the tables, or (files above 2 GiB) a range of the file behind them.
struct Buffer : Table {
  [[nodiscard]] const Vector<std::uint8_t>* data() const { return at<Vector<std::uint8_t>>(0); }
  [[nodiscard]] std::uint64_t offset() const { return value<std::uint64_t>(1); }
  [[nodiscard]] std::uint64_t size() const { return value<std::uint64_t>(2); }
  [[nodiscard]] bool Verify(Verifier& v) const {
    return starts(v) && has_vector<std::uint8_t>(v, 0) && has_value<std::uint64_t>(v, 1) &&
           has_value<std::uint64_t>(v, 2) && v.EndTable();
  }
};

struct Model : Table {
  [[nodiscard]] std::uint32_t version() const { return value<std::uint32_t>(0); }
  [[nodiscard]] const Tables<OperatorCode>* codes() const { return at<Tables<OperatorCode>>(1); }
  [[nodiscard]] const Tables<SubGraph>* graphs() const { return at<Tables<SubGraph>>(2); }
  [[nodiscard]] const Tables<Buffer>* buffers() const { return at<Tables<Buffer>>(4); }
  [[nodiscard]] bool Verify(Verifier& v) const {
    return starts(v) && has_value<std::uint32_t>(v, 0) && has_tables<OperatorCode>(v, 1) &&
           has_tables<SubGraph>(v, 2) && has_tables<Buffer>(v, 4) && v.EndTable();
  }
};

}  // namespace lastmile::tflite
