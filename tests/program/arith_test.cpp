// `segnet arith` as a user runs it. SEGNET_PROGRAM names the program.
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

#include "report/markup.hpp"
#include "support/files.hpp"

using namespace segnet::testing;

namespace {

struct Outcome {
  int code;
  std::string out;  ///< and standard error
};

Outcome arith(const std::string& arguments) {
  const char* program = std::getenv("SEGNET_PROGRAM");
  REQUIRE(program != nullptr);
  FILE* pipe = popen((std::string(program) + " arith " + arguments + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string out;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  const int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, out};
}

}  // namespace

TEST_CASE("arith size: what comes out, and what leads back") {
  const Outcome size = arith("size --input 224 --kernel 7 --stride 2 --padding 3");
  CHECK(size.code == 0);
  CHECK(contains(size.out, "224 -> 112"));
  CHECK(contains(size.out, "223 -> 112, and back with output padding 0"));
  CHECK(contains(arith("size --input 3 --kernel 3 --stride 2 --padding 1 --transposed").out, "with output padding 1: 6"));
  const Outcome both = arith("size --input 30 40 --stride 2 1 --padding 1 0 --padding-end 0 1");
  CHECK(contains(both.out, "rows: kernel 3, stride 2, padding 1:0"));
  CHECK(contains(both.out, "40 -> 39"));
}

TEST_CASE("arith receptive-field: a line for each layer") {
  const Outcome field = arith("receptive-field k3p1 k3p1 k2s2 k3p2d2 --input 224");
  CHECK(field.code == 0);
  CHECK(contains(field.out, "k3p2d2    14    2    -6    0.5  112"));
}

TEST_CASE("arith matrix: names, numbers, drawing") {
  CHECK(contains(arith("matrix").out, "y11   .   .   .   .   . w00 w01 w02   . w10 w11 w12   . w20 w21 w22"));
  const TemporaryFolder folder;
  const std::string svg = folder / "m.svg";
  const Outcome padded =
      arith("matrix --input 1 4 --kernel 1 3 --padding 0 1 --padded --transposed --weights 1 2 3 --data 4 5 6 7 --svg " + svg);
  CHECK(contains(padded.out, "x1 = 3*4 + 2*5 + 1*6 = 28"));
  CHECK(parse_markup(load(svg)).error == "");
  CHECK(contains(arith("matrix --channels 2 --filters 2 --input 2 --kernel 1").out, "w11 x111"));
}

TEST_CASE("arith transpose: all three are equal") {
  for (const char* options :
       {"--padding 1 --output-padding 1", "--input 3 2 --stride 3 1 --dilation 1 3 --output-padding 0 2", "--stride 1 --kernel 2"}) {
    const Outcome transpose = arith(std::string("transpose ") + options);
    CHECK(transpose.code == 0);
    CHECK(contains(transpose.out, "All are equal"));
  }
}

TEST_CASE("arith draw: an SVG, and a picture for each step") {
  const TemporaryFolder folder;
  const std::string svg = folder / "c.svg", frames = folder / "frames";
  const Outcome draw = arith("draw --input 3 --stride 2 --padding 1 --transposed --numbers -o " + svg + " --frames " + frames);
  CHECK(draw.code == 0);
  const Markup markup = parse_markup(load(svg));
  CHECK(markup.error == "");
  CHECK(markup.all("animateTransform").size() == 2);
  CHECK(markup.has_text("45"));  // the last output
  // Padding crops the first of three pixels: it is not drawn.
  const Outcome cropped =
      arith("draw --input 1 3 --kernel 1 2 --stride 1 2 --padding 0 2 --transposed --data 17 18 19 --numbers -o " + svg);
  CHECK(cropped.code == 0);
  const Markup rest = parse_markup(load(svg));
  CHECK_FALSE(rest.has_text("17"));
  CHECK(rest.has_text("18"));
  CHECK(load(frames + "/0024.png").starts_with("\x89PNG"));
  CHECK_FALSE(std::filesystem::exists(frames + "/0025.png"));
}

TEST_CASE("arith: bad input is named, with exit code 2") {
  const auto fails = [](const char* arguments, const char* with) {
    const Outcome outcome = arith(arguments);
    INFO(outcome.out);
    CHECK(outcome.code == 2);
    CHECK(contains(outcome.out, with));
  };
  fails("size --input 3 --kernel 5", "a kernel within the padded image of 3x3");
  fails("size --input 3 --transposed --stride 2 --output-padding 2", "argument 'output_padding': expected at most [1, 1]");
  fails("receptive-field k3x", "got k3x");
  fails("matrix --weights 1 2", "expected 9 numbers, [1, 3, 3, 1], got 2");
  fails("matrix --input 40", "at most 256 inputs");
  fails("draw --input 100 --frames nowhere", "at most 1024 outputs");
  fails("draw --stride 0", "argument 'stride': expected at least 1");
  fails("draw --input three", "--input");
  fails("", "subcommand");
}
