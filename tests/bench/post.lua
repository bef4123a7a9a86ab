wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"to":"+12025550123","message":"Hello, this is a test message."}'
