dofile(os.getenv("BENCH_LUA") .. "/common.lua")

function request()
  return wrk.format("GET", "/v1/leaderboards/harvest/entries?around=me&limit=11",
    headers_of(any_player()))
end
