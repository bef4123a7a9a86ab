-- fsck_marks: marks in flight whose entry is gone. Returns their names. Mended: unmarked.
local function run(request)
  local stray = {}
  for _, name in ipairs(request.names) do
    if redis.call('HEXISTS', INFLIGHT, name) == 1 and not entry_of(stream_of(name)) then
      stray[#stray + 1] = name
      if request.repair then redis.call('HDEL', INFLIGHT, name) end
    end
  end
  return stray
end
