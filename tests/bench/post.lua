-- One pin a request, with an index of its own; URL and form come from the environment.
local rest = os.getenv("FORM") == "rest"
local pin = '"unique_id": "fbe53c66-3442-4773-b19e-d3ec6f54dddf", "title": "Island Oasis Coupon Organizer", '
  .. '"description": "Description Coupon Organizer in a fun colorful fabric -island oasis, Great Size", '
  .. '"follower_count": "124k", "tag_list": "Grocery Items,Grocery Coupons,Care Organization", '
  .. '"is_image_or_video": "image", "image_src": "https://i.pinimg.com/originals/65/bb/ea/65bbeaf458907bb0.jpg", '
  .. '"downloaded": 1, "save_location": "Local save in /data/finance"}'
local index = math.random(0, 1000000)
local path = rest and "/topics/pin" or "/pin/"
local kind = rest and "application/vnd.kafka.json.v2+json" or "application/json"
local head = "POST " .. path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: " .. kind .. "\r\nContent-Length: "

request = function()
  index = index + 1
  local body = '{"category": "finance", "index": ' .. index .. ", " .. pin
  if rest then body = '{"records": [{"value": ' .. body .. "}]}" end
  return head .. #body .. "\r\n\r\n" .. body
end

done = function(summary, latency, requests)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format('RESULT {"requests": %d, "seconds": %.3f, "errors": %d, "p50": %.3f, "p99": %.3f}\n',
    summary.requests, summary.duration / 1e6, errors, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
