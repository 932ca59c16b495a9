-- median_followers_by_join_year_and_age_group: median followers of the posts by the year their users joined and their age group
SELECT EXTRACT(YEAR FROM users.date_joined)::integer AS join_year,                                     -- UTC year in which the users joined
       CASE WHEN users.age <= 24 THEN '18-24' -- age of the users: 18-24, 25-35, 36-50, 50+
            WHEN users.age <= 35 THEN '25-35'
            WHEN users.age <= 50 THEN '36-50'
            ELSE '50+' END AS age_group,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS median_follower_count,       -- median number of followers: the mean of the two middle values when there are two
       percentile_disc(0.5) WITHIN GROUP (ORDER BY pin.follower_count) AS lower_median_follower_count, -- the lower of the two middle values
       count(*) AS post_count                                                                          -- number of posts the median is taken of
FROM pin_table AS pin JOIN user_table AS users USING (ind)
WHERE users.date_joined IS NOT NULL AND users.age >= 18 AND pin.follower_count IS NOT NULL
GROUP BY 1, 2
