dofile(os.getenv("BENCH_LUA") .. "/common.lua")

function request()
  return wrk.format("POST", "/v1/store/purchases", headers_of(any_player(), {
    ["Content-Type"] = "application/json", ["Idempotency-Key"] = hex(32),
  }), '{"offer":"seed","quantity":1}')
end
