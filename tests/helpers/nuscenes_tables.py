"""A nuScenes data set as text: every token, number and quaternion is written down, none computed.

The schema is that of https://www.nuscenes.org/nuscenes#data-format. Quaternions are w, x, y, z; sizes width, length,
height; translations are in metres in the world (poses, annotations) or in the vehicle (sensors); the LiDAR has x to the
right and y forward.
"""

import json
import struct

HALF = 0.7071067811865476  # sine and cosine of 45 degrees
FIRST, SWEEP, SECOND = '9d9bf11fb0e144c8', 'sweep01', '39586f9d59004284'
TIMES = {FIRST: 1532402927647951, SWEEP: 1532402927697951, SECOND: 1532402928147847}  # microseconds
# Of the vehicle: at first it drives north (along y of the world), then west.
POSES = {
    FIRST: ([411.0, 1180.0, 0.0], [HALF, 0.0, 0.0, HALF]),
    SWEEP: ([411.0, 1180.5, 0.0], [HALF, 0.0, 0.0, HALF]),
    SECOND: ([400.0, 1200.0, 1.0], [0.0, 0.0, 0.0, 1.0]),
}
# Of the LiDAR in the vehicle: its y looks along the vehicle's x.
LIDAR = ([1.0, 0.0, 2.0], [HALF, 0.0, 0.0, -HALF])

# Points of the files: x to the right, y forward, z up, intensity of 0 to 255, ring.
POINTS = {
    FIRST: [(-2.0, 10.0, -1.0, 51.0, 3), (0.5, 20.0, -1.5, 255.0, 31), (3.0, -4.0, 0.25, 0.0, 0)],
    SECOND: [(8.0, 16.0, -1.25, 102.0, 7)],
}
# Category, centre in the world, width, length, height, quaternion in the world, number of points.
ANNOTATIONS = {
    FIRST: [
        # 10 m ahead of the LiDAR and 2 m to the left, driving as the vehicle does.
        ('vehicle.car', [409.0, 1191.0, 1.0], [2.0, 4.0, 1.5], [HALF, 0.0, 0.0, HALF], 1),
        # 20 m ahead and half a metre to the right, turned left by 90 degrees: it walks west.
        ('human.pedestrian.adult', [411.5, 1201.0, 0.5], [0.5, 1.0, 1.75], [0.0, 0.0, 0.0, 1.0], 1),
        ('animal', [411.0, 1190.0, 0.5], [0.5, 1.0, 0.75], [1.0, 0.0, 0.0, 0.0], 0),  # of no class of the benchmark
    ],
    SECOND: [
        # 16 m ahead and 8 m to the right, turned right by 90 degrees: as seen from above it drives north.
        ('vehicle.bus.rigid', [383.0, 1208.0, 1.75], [3.0, 12.0, 3.5], [HALF, 0.0, 0.0, HALF], 1),
    ],
}


def write_nuscenes(root):
    """Write one scene of the mini set with two key frames and a sweep between them."""
    sensor = {'token': 'dc8b396651c05aed', 'channel': 'LIDAR_TOP', 'modality': 'lidar'}
    tables = {
        'attribute': [{'token': 'cb5118da1ab342aa', 'name': 'vehicle.moving', 'description': ''}],
        'calibrated_sensor': [
            {
                'token': 'a183049901c24361',
                'sensor_token': sensor['token'],
                'translation': LIDAR[0],
                'rotation': LIDAR[1],
                'camera_intrinsic': [],
            }
        ],
        'category': [],
        'ego_pose': [
            {'token': f'pose-{token}', 'timestamp': TIMES[token], 'translation': place, 'rotation': turn}
            for token, (place, turn) in POSES.items()
        ],
        'instance': [],
        'log': [
            {
                'token': '7e25a2c8ea1f41c5',
                'logfile': 'n008-2018-07-24',
                'vehicle': 'n008',
                'date_captured': '2018-07-24',
                'location': 'singapore-onenorth',
            }
        ],
        'map': [
            {
                'token': '53992ee3023e5494',
                'log_tokens': ['7e25a2c8ea1f41c5'],
                'category': 'semantic_prior',
                'filename': 'maps/53992ee3023e5494.png',
            }
        ],
        'sample': [
            {'token': FIRST, 'timestamp': TIMES[FIRST], 'scene_token': 'cc8c0bf57f984915', 'prev': '', 'next': SECOND},
            {'token': SECOND, 'timestamp': TIMES[SECOND], 'scene_token': 'cc8c0bf57f984915', 'prev': FIRST, 'next': ''},
        ],
        'sample_annotation': [],
        'sample_data': [
            _scan('data-1', FIRST, FIRST, 'samples', '', SWEEP),
            _scan(SWEEP, SECOND, SWEEP, 'sweeps', 'data-1', 'data-2'),
            _scan('data-2', SECOND, SECOND, 'samples', SWEEP, ''),
        ],
        'scene': [
            {
                'token': 'cc8c0bf57f984915',
                'log_token': '7e25a2c8ea1f41c5',
                'nbr_samples': 2,
                'first_sample_token': FIRST,
                'last_sample_token': SECOND,
                'name': 'scene-0061',  # of mini_train
                'description': 'Parked truck, construction',
            }
        ],
        'sensor': [sensor],
        'visibility': [{'token': '4', 'level': 'v80-100', 'description': ''}],
    }
    for sample, rows in ANNOTATIONS.items():
        for number, (category, centre, size, turn, points) in enumerate(rows):
            token = f'{sample}-{number}'
            tables['category'].append({'token': f'category-{category}', 'name': category, 'description': ''})
            tables['instance'].append(
                {
                    'token': f'instance-{token}',
                    'category_token': f'category-{category}',
                    'nbr_annotations': 1,
                    'first_annotation_token': token,
                    'last_annotation_token': token,
                }
            )
            tables['sample_annotation'].append(
                {
                    'token': token,
                    'sample_token': sample,
                    'instance_token': f'instance-{token}',
                    'visibility_token': '4',
                    'attribute_tokens': [],
                    'translation': centre,
                    'size': size,
                    'rotation': turn,
                    'prev': '',
                    'next': '',
                    'num_lidar_pts': points,
                    'num_radar_pts': 0,
                }
            )
    for folder in ('samples/LIDAR_TOP', 'maps', 'v1.0-mini'):
        (root / folder).mkdir(parents=True)
    (root / 'maps' / '53992ee3023e5494.png').write_bytes(_ONE_PIXEL)
    for token, rows in POINTS.items():
        content = b''.join(struct.pack('<5f', *row) for row in rows)
        (root / 'samples' / 'LIDAR_TOP' / f'{token}.pcd.bin').write_bytes(content)
    for name, rows in tables.items():
        (root / 'v1.0-mini' / f'{name}.json').write_text(json.dumps(rows))


def _scan(token, sample, pose, folder, before, after):
    return {
        'token': token,
        'sample_token': sample,
        'ego_pose_token': f'pose-{pose}',
        'calibrated_sensor_token': 'a183049901c24361',
        'timestamp': TIMES[pose],
        'fileformat': 'pcd',
        'is_key_frame': folder == 'samples',
        'height': 0,
        'width': 0,
        'filename': f'{folder}/LIDAR_TOP/{pose}.pcd.bin',
        'prev': before,
        'next': after,
    }


# A grey PNG of one pixel.
_ONE_PIXEL = bytes.fromhex(
    '89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63600000000200'
    '0148afa4710000000049454e44ae426082'
)
