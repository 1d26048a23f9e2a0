# nlohmann/json: JSON reports of the example programs. MIT.
segnet_dependency(nlohmann_json TARGET nlohmann_json::nlohmann_json DEBIAN nlohmann-json3-dev
  URL https://github.com/nlohmann/json/releases/download/v3.11.2/json.tar.xz
  SHA256 8c4b26bf4b422252e13f332bc5e388ec0ab5c3443d24399acb675e68278d341f)
