# doctest: the test framework. MIT.
segnet_dependency(doctest TARGET doctest::doctest DEBIAN doctest-dev
  URL https://github.com/doctest/doctest/archive/v2.4.9.tar.gz
  SHA256 19b2df757f2f3703a5e63cee553d85596875f06d91a3333acd80a969ef210856)
