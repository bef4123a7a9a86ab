-- mark_again: write in-flight records again that older data has forgotten. `records`: of each the names that its entry
-- may have, and the mark. One that is not there has been settled. Returns how many were written.
local function run(request)
  need(INFLIGHT)
  local written = 0
  for _, record in ipairs(request.records) do
    local names, mark = unpack(record)
    for _, name in ipairs(names) do
      if entry_of(stream_of(name)) then written = written + redis.call('HSETNX', INFLIGHT, name, mark) end
    end
  end
  return written
end
