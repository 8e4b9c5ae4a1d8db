/* mem */
#include "relaypool.h"
