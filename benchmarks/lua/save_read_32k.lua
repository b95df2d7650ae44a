dofile(os.getenv("BENCH_LUA") .. "/common.lua")

function request()
  return wrk.format("GET", "/v1/saves/bench-32k", headers_of(any_player()))
end
