dofile(os.getenv("BENCH_LUA") .. "/common.lua")

function request()
  return wrk.format("POST", "/v1/leaderboards/harvest/scores",
    headers_of(any_player(), { ["Content-Type"] = "application/json" }),
    string.format('{"score":%d}', math.random(1000000000)))
end
