dofile(os.getenv("BENCH_LUA") .. "/common.lua")

function request()
  return wrk.format("GET", "/v1/store/wallet", headers_of(any_player()))
end
