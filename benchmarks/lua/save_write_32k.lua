dofile(os.getenv("BENCH_LUA") .. "/common.lua")

local body
function prepare()
  body = hex(32760)
end

function request()
  return wrk.format("PUT", "/v1/saves/bench-32k", headers_of(any_player(), {
    ["Content-Type"] = "application/octet-stream", ["If-Match"] = "*",
  }), hex(8) .. body)
end
