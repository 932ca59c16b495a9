-- median_followers_by_join_year: median followers of the posts by the year their users joined
SELECT EXTRACT(YEAR FROM users.date_joined)::integer AS join_year,                                     -- UTC year in which the users joined
       percentile_cont(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS median_follower_count,       -- median number of followers: the mean of the two middle values when there are two
       percentile_disc(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS lower_median_follower_count, -- the lower of the two middle values
       count(*) AS post_count                                                                          -- number of posts the median is taken of
FROM pin_table AS pin JOIN user_table AS users USING (ind)
WHERE users.date_joined IS NOT NULL AND pin.follower_count IS NOT NULL
GROUP BY 1
