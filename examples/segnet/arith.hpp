// segnet arith: the arithmetic of convolutions, for numbers of one's own.
#pragma once

namespace CLI {
class App;
}

namespace segnet::program {

/// Adds the command and its commands to the program; they print, and leave their exit code.
void add_arith(CLI::App& app, int& exit_code);

}  // namespace segnet::program
